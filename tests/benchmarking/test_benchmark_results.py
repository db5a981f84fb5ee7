import math

import pytest

from compressor.benchmarking.latency import Samples
from compressor.benchmarking.results import batch_result, latency_of, load_time

STEADY = [0.001, -0.001, 0.001, -0.001]


def found(*rows, rounds=6):
    return Samples([[0.0] * len(rows[0]), *map(list, rows)], calls_ns=[], opens_ns=[], rounds=rounds)


def shifted(ratio):
    return [math.log(ratio) + x for x in STEADY]


def test_comparisons_go_by_the_names_in_order():
    batch = batch_result(["base", "a", "b"], 8, found(shifted(0.5), shifted(2.0), STEADY), 6)
    said = [(c.variant, c.baseline, c.batch, c.verdict) for c in batch.comparisons]
    assert said == [("a", "base", 8, "faster"), ("b", "base", 8, "slower")]


def test_speedup_is_the_ratio_turned_over():
    (comparison,) = batch_result(["base", "a"], 1, found(shifted(0.5), STEADY), 6).comparisons
    assert comparison.speedup == pytest.approx(2.0)
    assert comparison.speedup_ci95 == pytest.approx((1 / comparison.ci95[1], 1 / comparison.ci95[0]))
    assert comparison.speedup_ci95[0] < 2.0 < comparison.speedup_ci95[1]


def test_the_control_gives_the_noise_floor():
    batch = batch_result(["base", "a"], 1, found(shifted(0.5), STEADY), 6)
    low, high = batch.control.ci95
    assert batch.comparisons[0].noise_floor == batch.control.noise_floor == (high - low) / 2


def test_one_file_has_a_control_and_no_comparison():
    batch = batch_result(["base"], 1, found(STEADY), 6)
    assert (batch.comparisons, batch.control.verdict, batch.warnings) == ((), "same", ())


@pytest.mark.parametrize(
    ("samples", "expected"),
    [
        (
            found(shifted(0.5), shifted(1.1)),
            "too noisy to trust: the baseline differs from its own copy by 10.0%",
        ),
        (found(STEADY[:2], STEADY[:2]), "only 2 session pairs fitted the time allowed"),
        (found(STEADY, STEADY, rounds=2), "2 of 6 rounds fitted the time allowed"),
    ],
)
def test_doubtful_samples_are_warned_of(samples, expected):
    (warning,) = batch_result(["base", "a"], 1, samples, 6).warnings
    assert warning.startswith("batch 1: ")
    assert expected in warning


def test_a_control_that_differs_takes_every_claim_back():
    (comparison,) = batch_result(["base", "a"], 1, found(shifted(0.5), shifted(1.1)), 6).comparisons
    assert comparison.verdict == "inconclusive"


@pytest.mark.parametrize(("n", "claimed"), [(63, 0), (64, 2), (661, 2), (662, 3)])
def test_percentiles_are_claimed_only_from_enough_samples(n, claimed):
    latency = latency_of(1, range(1_000_000, 1_000_000 + n))
    tails = (latency.p90_ms, latency.p95_ms, latency.p99_ms)
    assert sum(tail is not None for tail in tails) == claimed


def test_latency_is_in_milliseconds():
    latency = latency_of(4, [1_000_000, 2_000_000, 6_000_000])
    assert (latency.batch, latency.n) == (4, 3)
    assert (latency.min_ms, latency.p50_ms, latency.mean_ms) == (1.0, 2.0, 3.0)


def test_load_is_in_milliseconds():
    load = load_time([3_000_000, 1_000_000, 2_000_000])
    assert (load.p50, load.min, load.n) == (2.0, 1.0, 3)
