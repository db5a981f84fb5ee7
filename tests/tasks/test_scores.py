from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from msgspec.structs import replace

from compressor.errors import CompressorError, DataError
from compressor.records import Metric
from compressor.report.change import change_of
from compressor.report.drops import find_drop
from compressor.report.paired import drawn_interval, pairs_of
from compressor.tasks.scores import DRAWS, Hits, Scores, metric_of, wilson

SHARE = Metric(unit="share", value=0.0, n=0)
ERROR = Metric(unit="m", direction="lower", value=0.0, n=0)


def test_hits_are_a_share_with_wilsons_interval():
    metric = metric_of("exact match", Hits(torch.tensor([True, True, False, True])), 4, SHARE, "s")
    assert (metric.name, metric.value, metric.n, metric.ci95) == ("exact match", 0.75, 4, wilson(0.75, 4))
    assert metric.outcomes.right == bytes([0b11010000])
    assert metric.outcomes.draws == b""


def test_the_interval_of_a_mean_is_that_of_the_normal_distribution():
    samples = torch.randn(400, generator=torch.Generator().manual_seed(0), dtype=torch.float64) + 3
    low, high = metric_of("error", Scores(samples), 400, ERROR, None).ci95
    half = 1.96 * float(samples.std()) / math.sqrt(400)
    assert (low, high) == pytest.approx((float(samples.mean()) - half, float(samples.mean()) + half), abs=0.1 * half)


def test_a_reduction_is_of_the_mean_of_each_statistic():
    counts = torch.tensor([[1.0, 2.0], [3.0, 4.0], [0.0, 2.0]])
    metric = metric_of("ratio", Scores(counts, lambda means: means[..., 0] / means[..., 1]), 3, SHARE, None)
    assert metric.value == pytest.approx(4 / 8)
    assert (metric.unit, metric.direction, metric.n) == ("share", "higher", 3)


def test_a_number_has_no_interval_and_no_draws():
    metric = metric_of("mAP", 0.25, 7, SHARE, "s")
    assert (metric.value, metric.n, metric.ci95, metric.outcomes) == (0.25, 7, None, None)


@pytest.mark.parametrize("samples", [torch.tensor([1.0]), torch.tensor([0.0, 0.0, 1.0])])
def test_where_a_draw_has_no_metric_there_is_no_interval(samples):
    metric = metric_of("log", Scores(samples, torch.log), len(samples), ERROR, "s")
    assert (metric.ci95, metric.outcomes) == (None, None)


@pytest.mark.parametrize("found", [float("nan"), float("inf"), Scores(torch.zeros(2), torch.log)])
def test_a_metric_that_is_no_number_is_told(found):
    with pytest.raises(DataError, match="the metric loss is no finite number"):
        metric_of("loss", found, 2, ERROR, None)


def pair(noise, known=ERROR, samples=("s", "s")):
    """Two networks whose errors go together sample by sample, the second worse by 0.1."""
    generator = torch.Generator().manual_seed(1)
    shared = torch.rand(200, generator=generator)
    worse = shared + 0.1 + noise * torch.randn(200, generator=generator)
    return [
        metric_of("error", Scores(one), 200, known, told) for one, told in zip((shared, worse), samples, strict=True)
    ]


def test_the_difference_of_two_networks_is_known_better_than_either():
    before, after = pair(noise=0.01)
    low, high = drawn_interval(before, after)
    assert low < 0.1 < high
    assert high - low < 0.1 * (before.ci95[1] - before.ci95[0])
    change = change_of(before, after)
    assert (change.basis, change.is_worse, change.interval) == ("same samples", True, (low, high))
    assert len(before.outcomes.draws) == 4 * DRAWS


def test_equal_networks_differ_by_nothing():
    before, _ = pair(noise=0.0)
    assert drawn_interval(before, before) == (0.0, 0.0)


def test_other_samples_count_as_independent():
    before, after = pair(noise=0.01, samples=("s", "t"))
    assert drawn_interval(before, after) is None
    assert change_of(before, after).basis == "independent samples"


def test_a_gate_goes_by_the_worse_end():
    before, after = pair(noise=0.01)
    drop = find_drop(before, after, 0.2)
    assert drop.bound == pytest.approx(drawn_interval(before, after)[1])
    assert "with the same 200 samples, of which sets were drawn again," in drop.on
    better = find_drop(after, before, 0.2)
    assert better.bound == pytest.approx(drawn_interval(after, before)[1])
    assert better.bound < 0


def test_of_a_share_the_drop_is_in_points_and_downward():
    before, after = pair(noise=0.01, known=SHARE)
    low, _ = drawn_interval(after, before)
    assert find_drop(after, before, 5.0).bound == pytest.approx(-100 * low)


def test_draws_are_not_taken_for_hits():
    before, after = pair(noise=0.01)
    assert pairs_of(before, after) is None


@pytest.mark.parametrize("draws", [b"1234", np.full(DRAWS, np.nan, "<f4").tobytes()])
def test_draws_that_cannot_be_are_told(draws):
    before, after = pair(noise=0.01)
    broken = replace(after, outcomes=replace(after.outcomes, draws=draws))
    with pytest.raises(CompressorError, match=r"of the same samples was not drawn|is no number"):
        drawn_interval(before, broken)
    assert change_of(before, broken).basis == "unknown"
