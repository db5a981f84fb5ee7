from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import report_documents as documents

from compressor.report import wording


@pytest.mark.parametrize(
    ("say", "value", "words"),
    [
        (wording.count, 950, "950"),
        (wording.count, 999.7, "1.00 k"),
        (wording.count, 41_000_000, "41.0 M"),
        (wording.count, None, "n/a"),
        (wording.size, 1_083_000, "1.08 MB"),
        (wording.size, 812, "812 B"),
        (wording.size, 0, "0 B"),
        (wording.size, 3_000_000_000_000_000, "3000 TB"),
        (wording.milliseconds, 1.2345, "1.23 ms"),
        (wording.milliseconds, 0.0937, "0.0937 ms"),
        (wording.milliseconds, 0, "0 ms"),
        (wording.milliseconds, 123.4, "123 ms"),
        (wording.milliseconds, None, "n/a"),
        (wording.duration, 41.3, "41 s"),
        (wording.duration, 151, "2 min 31 s"),
        (wording.duration, 11_100, "3 h 5 min"),
        (wording.percent, 0.498, "49.8 %"),
        (wording.scientific, 0.0, "0"),
        (wording.scientific, 4.4e-16, "4.4e-16"),
        (wording.points, -0.0028, "−0.28 points"),
        (wording.points, -0.000001, "±0.00 points"),
        (wording.moment, "2025-06-01T10:00:00+00:00", "2025-06-01 10:00 UTC"),
        (wording.moment, "2025-06-01T10:00:00", "2025-06-01 10:00"),
        (wording.moment, "last week", "last week"),
        (wording.accuracy, None, "n/a"),
        (wording.accuracy, {"value": 0.9833, "n": 9, "ci95": None}, "98.33 %"),
        (wording.accuracy, {"value": 0.9833, "n": 9, "ci95": [0.969, 0.993]}, "98.33 % [96.9–99.3]"),
        (wording.plain, "a\x1b[2Jb\nc", "a [2Jb c"),
    ],
)
def test_values_in_words(say: Callable[[Any], str], value: Any, words: str) -> None:
    assert say(value) == words


def test_a_share_of_nothing_is_not_known() -> None:
    assert wording.share(3, 0) == "n/a"


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
    assert wording.verdict(documents.comparison(verdict)) == words


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
    assert wording.short_verdict(documents.comparison(verdict)) == words


def test_an_unknown_noise_floor_is_left_out() -> None:
    assert "noise" not in wording.verdict({**documents.comparison(), "noise_floor": None})
