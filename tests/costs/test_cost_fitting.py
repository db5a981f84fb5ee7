"""Coefficients that add up single layers are found again, and errors are those of networks not seen."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from compressor.costs.fitting import UNIT, fitted
from compressor.costs.latency import latency_model, timed_rows
from compressor.errors import UsageError
from compressor.groups import find_groups
from compressor.records.benchmark import Comparison
from compressor.records.costs import Costs, LayerCosts, NetworkCosts
from compressor.stages.costs import _widths


def network():
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 32, 3, padding=1), nn.ReLU(), nn.Conv2d(32, 48, 3, padding=1, stride=2), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(48, 10)).eval()


EXAMPLE = torch.randn(2, 3, 8, 8)


@pytest.fixture(scope="module")
def known():
    """The rows of a network, and made-up times of its layers: a staircase in the outputs."""
    model = network()
    groups = [group for group in find_groups(model, EXAMPLE) if group.prunable]
    rows = timed_rows(model, EXAMPLE, groups)
    layers = tuple(
        LayerCosts(
            layer=layer,
            inputs=inputs,
            outputs=outputs,
            us=tuple(tuple(1 + i * (-(-o // 8)) / 4 for o in outputs) for i in inputs),
            ci95=tuple(tuple(0.1 for _ in outputs) for _ in inputs),
        )
        for layer, (inputs, outputs) in _widths(rows, 8).items()
    )
    return model, groups, rows, layers


def comparison(ratio):
    return Comparison(
        variant="small",
        baseline="dense",
        batch=1,
        ratio=ratio,
        ci95=(ratio * 0.99, ratio * 1.01),
        speedup=1 / ratio,
        speedup_ci95=(0.99 / ratio, 1.01 / ratio),
        pairs=6,
        rounds=4,
        noise_floor=0.01,
        verdict="faster",
        rule="",
        sequential=False,
    )


def fit_of(known, truth, noise=0.0):
    _, groups, rows, layers = known
    model, random = rows.model(layers, 8, truth), np.random.default_rng(0)
    kept = [[int(random.integers(1, group.channels + 1)) for group in groups] for _ in range(12)]
    ratios = [model.total(widths) / model.total() * (1 + noise * random.standard_normal()) for widths in kept]
    timed = [comparison(float(ratio)) for ratio in ratios]
    return model, fitted(rows.model(layers, 8, UNIT), kept, timed, model.total() / 1000), kept


def of(**coefficients):
    return NetworkCosts(**{"checks": (), "median_error": 0.0, "worst_error": 0.0, "us_per_mac": 0.0, **coefficients})


@pytest.mark.parametrize(
    "truth",
    [of(scale=1.2, us_per_output=0.01, fixed_us=20.0), of(scale=0.7, us_per_output=0.0, fixed_us=0.0)],
)
def test_the_coefficients_of_exact_times_are_found(known, truth):
    _, found, _ = fit_of(known, truth)
    assert found.scale == pytest.approx(truth.scale, rel=1e-3)
    assert found.us_per_output == pytest.approx(truth.us_per_output, rel=0.02, abs=1e-4)
    assert found.fixed_us == pytest.approx(truth.fixed_us, rel=0.02, abs=0.05)
    assert found.worst_error < 1e-3


def test_noise_shows_in_the_errors(known):
    _, found, _ = fit_of(known, of(scale=1.0, us_per_output=0.01, fixed_us=10.0), noise=0.05)
    assert 0.01 < found.median_error < found.worst_error < 0.3
    assert len(found.checks) == 12


def test_a_latency_model_is_its_layers_and_the_rest(known):
    _, _, rows, layers = known
    truth = of(scale=2.0, us_per_output=0.5, fixed_us=7.0)
    model = rows.model(layers, 8, truth)
    # conv 3 -> 32 at 8x8, conv 32 -> 48 at 4x4, linear 48 -> 10
    whole = [1 + 3 * 4 / 4, 1 + 32 * 6 / 4, 1 + 48 * 2 / 4]
    numbers = [32 * 64, 48 * 16, 10]
    expected = 2 * sum(whole) + 0.5 * sum(numbers) + 7
    assert model.total() == pytest.approx(1000 * expected, rel=1e-6)


def test_a_channel_inside_of_a_block_saves_nothing_and_on_average_it_does(known):
    _, groups, rows, layers = known
    model = rows.model(layers, 8, of(scale=1.0, us_per_output=0.0, fixed_us=0.0))
    first = [group.channels for group in groups]
    less = [first[0] - 1, *first[1:]]
    assert model.by_layer(less)[0] == model.by_layer(first)[0]
    assert (model.saved_per_channel() > 0).all()


def test_costs_of_another_network_are_refused(known):
    model, groups, rows, layers = known
    costs = Costs(
        started="",
        duration_s=0.0,
        environment=_environment(),
        provider="cpu",
        threads=1,
        batch=1,
        block=8,
        layers=layers,
        networks={rows.key: of(scale=1.0, us_per_output=0.0, fixed_us=0.0)},
    )
    assert latency_model(model, EXAMPLE, groups, costs).total() > 0
    other = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Flatten(), nn.Linear(8 * 36, 10)).eval()
    with pytest.raises(UsageError, match="the costs are those of other networks"):
        latency_model(other, EXAMPLE, [g for g in find_groups(other, EXAMPLE) if g.prunable], costs)


def _environment():
    from compressor.benchmarking.environment import describe

    return describe(())
