from __future__ import annotations

import pytest

from compressor.alignment import Alignment
from compressor.errors import UsageError

AUTO = Alignment.parse("auto")


@pytest.mark.parametrize(("channels", "step"), [(1, 4), (8, 4), (31, 4), (32, 8), (512, 8)])
def test_auto_aligns_narrow_layers_to_4_and_others_to_8(channels, step):
    assert AUTO.step(channels) == step


@pytest.mark.parametrize(
    ("kept", "channels", "expected"),
    [(1, 16, 4), (4, 16, 4), (5, 16, 8), (16, 16, 16), (33, 64, 40), (60, 61, 61), (0, 16, 4), (1, 3, 3), (9, 10, 10)],
)
def test_kept_channels_are_rounded_up_but_never_above_all(kept, channels, expected):
    assert AUTO.up(kept, channels) == expected


def test_a_number_is_the_multiple_of_every_layer():
    align = Alignment.parse("3")
    assert [align.up(kept, 64) for kept in (1, 3, 4, 64)] == [3, 3, 6, 64]


def test_align_1_changes_no_count():
    assert [Alignment.parse("1").up(kept, 9) for kept in range(1, 10)] == list(range(1, 10))


@pytest.mark.parametrize("text", ["0", "-4", "4.0", "", "eight", "²", " 4"])
def test_a_bad_alignment_is_refused(text):
    with pytest.raises(UsageError, match="--align must be auto, auto:BLOCK or a number of at least 1, got"):
        Alignment.parse(text)


@pytest.mark.parametrize(
    ("channels", "places", "step"),
    [(6, 64, 1), (12, 4, 2), (64, 12, 2), (64, 3, 8), (8, 3, 4), (6, 4, 1), (32, 4, 2), (1, 49, 8)],
)
def test_what_counts_is_the_width_that_channels_of_several_places_fill(channels, places, step):
    assert AUTO.step(channels, places) == step
    assert AUTO.up(1, channels, places) == min(step, channels)


def test_a_number_is_the_multiple_of_the_width():
    assert [Alignment.parse("12").step(64, places) for places in (1, 2, 3, 8, 12, 24)] == [12, 6, 4, 3, 1, 1]
