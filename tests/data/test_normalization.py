from __future__ import annotations

import pytest
import torch

from compressor.data.batches import normalized
from compressor.data.normalization import PRESETS, Normalization
from compressor.errors import DataError, UsageError

TEXTS = [*PRESETS, "0.5/0.25", "0.1307/0.3081", "0.1,0.2,0.3/0.4,0.5,0.6", "0.5/0.1,0.2,0.3", "1e-07/1.5"]


@pytest.mark.parametrize("text", TEXTS)
def test_text_of_a_normalization_reads_back_as_the_same(text):
    given = Normalization.parse(text)
    assert Normalization.parse(str(given)) == given


@pytest.mark.parametrize("text", TEXTS)
def test_plain_form_reads_back_as_the_same(text):
    given = Normalization.parse(text)
    assert Normalization.from_plain(given.to_plain()) == given


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_preset_prints_as_its_name(name):
    assert str(Normalization.parse(name)) == name


def test_plain_form_is_two_lists():
    assert Normalization.parse("0.5/0.25").to_plain() == {"mean": [0.5], "std": [0.25]}


@pytest.mark.parametrize("text", ["imagnet", "0.5", "1/2/3", "a/b", "0.5,/0.2", ""])
def test_unreadable_text_is_refused_with_the_right_form(text):
    with pytest.raises(UsageError, match=r"normalization must be imagenet, .* MEAN/STD .* got "):
        Normalization.parse(text)


def test_numbers_of_means_and_deviations_that_differ_are_refused():
    with pytest.raises(UsageError, match="got 2 means and 3 standard deviations"):
        Normalization.parse("0.1,0.2/0.1,0.2,0.3")


def test_no_values_at_all_are_refused():
    with pytest.raises(UsageError, match="got 0 means and 0 standard deviations"):
        Normalization((), ())


@pytest.mark.parametrize("text", ["0.5/0", "0.5/-1", "0.5/nan", "0.5/inf"])
def test_deviation_that_is_not_positive_and_finite_is_refused(text):
    with pytest.raises(UsageError, match="standard deviations must be positive and finite, got"):
        Normalization.parse(text)


def test_mean_that_is_not_finite_is_refused():
    with pytest.raises(UsageError, match="means of a normalization must be finite, got nan"):
        Normalization.parse("nan/1")


@pytest.mark.parametrize("plain", [None, 3, {}, {"mean": [0.5]}, {"mean": 0.5, "std": 1}, {"mean": "ab", "std": [1]}])
def test_damaged_plain_form_is_refused(plain):
    with pytest.raises(UsageError, match="must hold lists 'mean' and 'std'"):
        Normalization.from_plain(plain)


def test_images_are_scaled_to_unit_range_without_normalization():
    images = torch.tensor([0, 51, 255], dtype=torch.uint8).view(1, 1, 1, 3)
    assert normalized(images, None).flatten().tolist() == pytest.approx([0, 0.2, 1])


def test_each_channel_gets_its_own_mean_and_deviation():
    images = torch.full((1, 3, 1, 1), 255, dtype=torch.uint8)
    found = normalized(images, Normalization((0.5, 0.0, 1.0), (0.5, 0.25, 1.0)))
    assert found.flatten().tolist() == [1, 4, 0]


def test_one_value_serves_every_channel():
    images = torch.full((1, 3, 1, 1), 255, dtype=torch.uint8)
    assert normalized(images, Normalization((0.5,), (0.25,))).flatten().tolist() == [2, 2, 2]


def test_normalizing_leaves_the_images_alone():
    images = torch.full((1, 1, 2, 2), 7, dtype=torch.uint8)
    normalized(images, Normalization.parse("0.5/0.5"))
    assert images.eq(7).all()


def test_normalization_for_another_number_of_channels_is_refused():
    images = torch.zeros(1, 1, 2, 2, dtype=torch.uint8)
    with pytest.raises(DataError, match="normalization imagenet is for 3 channels, the images have 1"):
        normalized(images, Normalization.parse("imagenet"))
