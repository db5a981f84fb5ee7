"""The interval for two networks on the same samples, and how many samples a gate needs."""

from __future__ import annotations

import numpy as np
import paired_coverage
import pytest
from msgspec.structs import replace

from compressor.errors import CompressorError
from compressor.records import Metric, Outcomes
from compressor.report.paired import Pairs, paired_interval, pairs_of, samples_needed


def measured(right: list[int] | np.ndarray, samples: str = "ab12") -> Metric:
    bits = np.asarray(right, dtype=bool)
    outcomes = Outcomes(samples=samples, right=np.packbits(bits).tobytes())
    return Metric(value=float(bits.mean()), n=len(bits), ci95=(0.0, 1.0), outcomes=outcomes)


# Bentur et al. 2009 in Fagerland, Lydersen, Laake, "Recommended tests and confidence intervals for paired binomial
# proportions", Statistics in Medicine 33, 2014: 1 and 7 discordant pairs of 21, Tango's interval is -0.517 to -0.026.
def test_the_interval_is_the_published_one() -> None:
    assert paired_interval(Pairs(1, 7, 21)) == pytest.approx((-0.517, -0.026), abs=5e-4)


@pytest.mark.parametrize("n", [1, 359, 50_000])
def test_without_a_discordant_sample_the_interval_has_a_closed_form(n: int) -> None:
    reach = 1.959964**2 / (n + 1.959964**2)
    assert paired_interval(Pairs(0, 0, n)) == pytest.approx((-reach, reach))


@pytest.mark.parametrize(("lost", "won", "n"), [(3, 0, 3), (0, 3, 3), (2, 1, 3), (359, 0, 359), (40, 30, 5000)])
def test_the_interval_holds_the_change_and_has_no_side(lost: int, won: int, n: int) -> None:
    low, high = paired_interval(Pairs(lost, won, n))
    assert -1 <= low <= (lost - won) / n <= high <= 1
    assert paired_interval(Pairs(won, lost, n)) == pytest.approx((-high, -low), abs=1e-9)


def test_the_samples_that_only_one_got_right_are_counted() -> None:
    old, new = measured([1, 1, 1, 0, 0, 1, 1, 0, 1]), measured([1, 0, 0, 1, 0, 1, 1, 0, 1])
    assert pairs_of(old, new) == Pairs(2, 1, 9)


@pytest.mark.parametrize("other", [measured([1, 1], "cd34"), Metric(value=1.0, n=2, ci95=(0.3, 1.0))])
def test_other_samples_and_unknown_outcomes_are_no_pairs(other: Metric) -> None:
    assert pairs_of(measured([1, 1]), other) is None
    assert pairs_of(other, measured([1, 1])) is None


@pytest.mark.parametrize(
    "forged",
    [
        replace(measured([1, 1, 0]), value=1.0),
        replace(measured([1, 1, 0]), n=9),
        replace(measured([1, 1, 0]), n=None),
        replace(measured([1, 1, 0]), n=-5),
        replace(measured([1, 1, 0]), n=2),
        replace(measured([1, 1, 0]), outcomes=Outcomes(samples="ab12", right=b"")),
        replace(measured([1, 1, 0]), outcomes=Outcomes(samples="ab12", right=b"\xff")),
    ],
)
def test_outcomes_that_contradict_their_metric_are_refused(forged: Metric) -> None:
    for pair in ((forged, measured([1, 1, 0])), (measured([1, 1, 0]), forged)):
        with pytest.raises(CompressorError, match="outcomes of the single samples contradict the accuracy"):
            pairs_of(*pair)


def test_the_same_samples_cannot_be_of_two_numbers() -> None:
    with pytest.raises(CompressorError, match="the same samples are 3 in one document and 2 in the other"):
        pairs_of(measured([1, 1, 0]), measured([1, 1]))


@pytest.mark.parametrize("pairs", [Pairs(0, 0, 359), Pairs(2, 2, 359), Pairs(100, 90, 10_000), Pairs(1, 5, 359)])
def test_as_many_samples_as_needed_are_enough_and_no_more(pairs: Pairs) -> None:
    needed = samples_needed(pairs, 0.005)
    assert needed is not None
    assert paired_interval(pairs.scaled(needed))[1] <= 0.005 < paired_interval(pairs.scaled(needed - 1))[1]


def test_no_number_of_samples_shows_less_than_what_was_measured() -> None:
    assert samples_needed(Pairs(2, 0, 359), 0.005) is None
    assert samples_needed(Pairs(1, 0, 200), 0.005) is None


# Tango's interval holds the truth in 95 % of the draws, and the error by which a gate would let a network pass, an
# upper end below the truth, stays near 2.5 %. 2,000 draws have a standard error of 0.5 and 0.35 points.
@pytest.mark.parametrize("n", paired_coverage.SAMPLES)
@pytest.mark.parametrize("discordant", [0.0, 0.01, 0.05])
def test_the_interval_covers(n: int, discordant: float) -> None:
    for drop in (0.0, 0.005) if discordant else (0.0,):
        found = paired_coverage.coverage(paired_coverage.tango, n, discordant, drop, draws=2000)
        assert found.held > 0.93
        assert found.too_low < 0.04


def test_the_interval_for_independent_samples_is_much_too_wide() -> None:
    apart, paired = (
        paired_coverage.coverage(method, 10_000, 0.01, 0.0, draws=200)
        for method in (paired_coverage.independent, paired_coverage.tango)
    )
    assert apart.held == pytest.approx(1.0, abs=1e-12)
    assert apart.upper > 2.5 * paired.upper
