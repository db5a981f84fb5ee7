from __future__ import annotations

import numpy as np
import pytest
import report_documents as documents
from msgspec.structs import replace

from compressor.records import Metric, Outcomes
from compressor.report.change import change_of
from compressor.report.paired import Pairs, paired_interval
from compressor.training.evaluation import accuracy_of


def measured(right: list[bool], samples: str = "s") -> Metric:
    outcomes = Outcomes(samples=samples, right=np.packbits(np.array(right)).tobytes())
    return replace(accuracy_of(sum(right) / len(right), len(right)), outcomes=outcomes)


DENSE = measured([True] * 95 + [False] * 5)
SMALL = measured([True] * 90 + [False] * 10)


def test_on_the_same_samples_the_interval_is_paired() -> None:
    change = change_of(DENSE, SMALL)
    assert change is not None
    assert change.basis == "same samples"
    low, high = paired_interval(Pairs(5, 0, 100))
    assert change.interval == (-100 * high, -100 * low)
    assert change.brief == f"−5.00 points (CI {-100 * high:+.2f} to {-100 * low:+.2f})".replace("-", "−")
    assert change.is_worse
    assert not change.is_noise


def test_a_gain_has_the_mirrored_interval() -> None:
    down, up = change_of(DENSE, SMALL), change_of(SMALL, DENSE)
    assert down is not None
    assert up is not None
    assert up.interval == pytest.approx((-down.interval[1], -down.interval[0]))  # type: ignore[index]
    assert not up.is_worse


def test_other_samples_are_taken_as_independent_and_cost_width() -> None:
    paired, other = change_of(DENSE, SMALL), change_of(DENSE, measured([True] * 90 + [False] * 10, "other"))
    assert paired is not None
    assert other is not None
    assert other.basis == "independent samples"
    assert other.interval[0] < paired.interval[0]  # type: ignore[index]


def test_where_no_difference_is_possible_it_is_called_noise() -> None:
    change = change_of(DENSE, DENSE)
    assert change is not None
    assert change.is_noise
    assert change.brief.startswith("±0.00 points (within noise: CI −")


def test_a_metric_of_which_less_is_better_is_worse_when_it_rises() -> None:
    rise = change_of(documents.perplexity(20.0), documents.perplexity(23.0))
    fall = change_of(documents.perplexity(23.0), documents.perplexity(20.0))
    assert rise is not None
    assert fall is not None
    assert rise.interval == pytest.approx((3 - 2**0.5, 3 + 2**0.5))
    assert (rise.is_worse, fall.is_worse) == (True, False)


def test_outcomes_that_contradict_the_metric_give_no_interval() -> None:
    change = change_of(DENSE, replace(SMALL, value=0.5))
    assert change is not None
    assert (change.interval, change.basis) == (None, "unknown")
    assert change.brief == "−45.00 points (interval unknown)"


def test_what_was_not_measured_or_is_another_metric_has_no_change() -> None:
    assert change_of(None, DENSE) is None
    assert change_of(DENSE, documents.perplexity(20.0)) is None
