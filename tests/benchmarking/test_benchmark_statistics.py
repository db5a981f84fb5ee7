import math

import numpy as np
import pytest

from compressor.benchmarking.statistics import (
    Interval,
    claim,
    control_verdict,
    interval,
    settled,
    student_cdf,
    student_quantile,
    verdict,
)

EVEN = [0.001, -0.001, 0.001, -0.001]


@pytest.mark.parametrize(
    ("df", "expected"),
    [(1, 12.7062), (2, 4.302653), (3, 3.182446), (7, 2.364624), (8, 2.306004), (31, 2.039513)],
)
def test_quantiles_are_those_of_the_printed_tables(df, expected):
    assert student_quantile(0.975, df) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("df", [1, 2, 5, 10])
def test_the_distribution_is_symmetric(df):
    assert student_cdf(1.3, df) + student_cdf(-1.3, df) == pytest.approx(1)


def test_with_many_degrees_of_freedom_the_normal_distribution_appears():
    assert student_quantile(0.975, 5000) == pytest.approx(1.95996, abs=1e-3)


def test_interval_of_two_pairs_by_hand():
    found = interval([math.log(0.5) - 0.01, math.log(0.5) + 0.01])
    assert found.ratio == pytest.approx(0.5)
    assert found.high == pytest.approx(0.5 * math.exp(12.7062 * 0.01), rel=1e-6)


def test_interval_covers_the_truth_nineteen_times_of_twenty():
    samples = np.random.default_rng(0).normal(0.3, 0.1, (2000, 4))
    found = [interval(row) for row in samples]
    covered = sum(entry.low < math.exp(0.3) < entry.high for entry in found)
    assert 0.935 < covered / 2000 < 0.965


@pytest.mark.parametrize(
    ("low", "high", "noise", "expected"),
    [
        (0.50, 0.60, 0.00, "faster"),
        (0.90, 0.979, 0.00, "faster"),
        (0.90, 0.981, 0.00, "inconclusive"),
        (0.90, 0.94, 0.05, "faster"),
        (0.90, 0.96, 0.05, "inconclusive"),
        (1.021, 1.10, 0.00, "slower"),
        (1.019, 1.10, 0.00, "inconclusive"),
        (1.04, 1.10, 0.05, "inconclusive"),
        (0.981, 1.019, 0.00, "same"),
        (0.981, 1.019, 0.05, "same"),
        (0.97, 1.01, 0.00, "inconclusive"),
        (0.80, 1.20, 0.00, "inconclusive"),
    ],
)
def test_verdict_follows_the_rule(low, high, noise, expected):
    assert claim(low, high, noise) == expected


def test_no_claim_is_made_when_the_control_differs():
    control = Interval(1.05, 1.04, 1.06)
    assert control_verdict(control) == "slower"
    assert verdict(Interval(0.5, 0.49, 0.51), control) == "inconclusive"


def test_a_wide_control_raises_the_bar():
    assert verdict(Interval(0.95, 0.94, 0.96), Interval(1.0, 0.9, 1.1)) == "inconclusive"


@pytest.mark.parametrize(
    ("variant", "control", "expected"),
    [(EVEN, EVEN, True), ([-0.1, 0.1, -0.1, 0.1], EVEN, False), (EVEN, [0.1, 0.1, 0.11, 0.11], False)],
)
def test_settled_when_all_is_conclusive_and_the_control_agrees(variant, control, expected):
    assert settled([[0.0] * 4, variant, control]) is expected
