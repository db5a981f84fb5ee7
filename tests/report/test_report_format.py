from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import report_documents as documents
from msgspec.structs import replace

from compressor.records import Metric
from compressor.report import format


@pytest.mark.parametrize(
    ("say", "value", "words"),
    [
        (format.count, 950, "950"),
        (format.count, 999.7, "1.00 k"),
        (format.count, 41_000_000, "41.0 M"),
        (format.count, None, "n/a"),
        (format.size, 1_083_000, "1.08 MB"),
        (format.size, 812, "812 B"),
        (format.size, 0, "0 B"),
        (format.size, 3_000_000_000_000_000, "3000 TB"),
        (format.milliseconds, 1.2345, "1.23 ms"),
        (format.milliseconds, 0.0937, "0.0937 ms"),
        (format.milliseconds, 0, "0 ms"),
        (format.milliseconds, 123.4, "123 ms"),
        (format.milliseconds, None, "n/a"),
        (format.duration, 41.3, "41 s"),
        (format.duration, 151, "2 min 31 s"),
        (format.duration, 11_100, "3 h 5 min"),
        (format.percent, 0.498, "49.8 %"),
        (format.scientific, 0.0, "0"),
        (format.scientific, 4.4e-16, "4.4e-16"),
        (format.points, -0.0028, "−0.28 points"),
        (format.points, -0.000001, "±0.00 points"),
        (format.moment, "2025-06-01T10:00:00+00:00", "2025-06-01 10:00 UTC"),
        (format.moment, "2025-06-01T10:00:00", "2025-06-01 10:00"),
        (format.moment, "last week", "last week"),
        (format.metric, None, "n/a"),
        (format.metric, Metric(value=0.9833, n=9), "98.33 %"),
        (format.metric, Metric(value=0.9833, n=9, ci95=(0.969, 0.993)), "98.33 % [96.9–99.3]"),
        (format.metric, Metric(name="loss", unit="", direction="lower", value=0.25, n=9), "0.25"),
        (format.metric, documents.perplexity(20.0), "20 nats [19–21]"),
        (format.metric_value, Metric(name="psnr", unit="d\x1bB", value=31.4159, n=9), "31.42 d\\x1bB"),
        (format.plain, "a\x1b[2Jb\nc", "a\\x1b[2Jb c"),
    ],
)
def test_values_in_words(say: Callable[[Any], str], value: Any, words: str) -> None:
    assert say(value) == words


def test_a_share_of_nothing_is_not_known() -> None:
    assert format.share(3, 0) == "n/a"


@pytest.mark.parametrize(
    ("verdict", "words"),
    [
        ("faster", "1.90x faster (CI 1.86–1.94, noise floor ±1.3 %, 8x6 rounds)"),
        ("slower", "1.21x slower (CI 1.17–1.25, noise floor ±1.3 %, 8x6 rounds)"),
        ("same", "no measurable difference (CI 0.98–1.01)"),
        ("inconclusive", "inconclusive (CI 0.93–1.08)"),
    ],
)
def test_each_verdict_has_its_sentence(verdict: str, words: str) -> None:
    assert format.verdict(documents.comparison(verdict)) == words


@pytest.mark.parametrize(
    ("verdict", "words"),
    [
        ("faster", "1.90x faster [1.86–1.94]"),
        ("slower", "1.21x slower [1.17–1.25]"),
        ("same", "no difference [0.98–1.01]"),
        ("inconclusive", "inconclusive [0.93–1.08]"),
    ],
)
def test_each_verdict_has_its_short_form(verdict: str, words: str) -> None:
    assert format.short_verdict(documents.comparison(verdict)) == words


def test_an_unknown_noise_floor_is_left_out() -> None:
    assert "noise" not in format.verdict(replace(documents.comparison(), noise_floor=None))


def test_numbers_side_by_side_have_one_unit() -> None:
    assert format.in_one_unit((1_087_563, 741_427), format.BYTES) == ["1.09 MB", "0.741 MB"]
    assert format.in_one_unit((900, 1_100), format.COUNTS) == ["0.900 k", "1.10 k"]
    assert format.in_one_unit((0, 0), format.BYTES) == ["0 B", "0 B"]
