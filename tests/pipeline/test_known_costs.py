"""Costs that several runs share are measured once."""

from dataclasses import replace

import pytest

from compressor.benchmarking.environment import describe
from compressor.checkpoints import load
from compressor.pipeline import RunPlan
from compressor.pipeline.known_costs import COSTS, with_costs
from compressor.progress import silent
from compressor.records.costs import Costs
from compressor.splitting import SplittingConfig
from compressor.training.recipe import Recipe


@pytest.fixture
def measured(monkeypatch):
    """How often, and with what, costs were measured."""
    calls = []

    def measure(network, groups, **settings):
        calls.append(settings)
        known = {"started": "", "duration_s": 0.0, "provider": "cpu", "block": 8, "layers": (), "networks": {}}
        return Costs(**known, environment=describe(()), threads=settings["threads"], batch=1)

    monkeypatch.setattr("compressor.stages.aim.measure_costs", measure)
    return calls


def plan(**penalties):
    return RunPlan(recipe=Recipe(epochs=2, seed=3), penalties=SplittingConfig(**penalties), max_seconds=2.0)


def test_a_target_in_latency_gets_costs_that_are_kept(measured, tmp_path):
    first, second = (with_costs(plan(target_latency=0.5), load("digits_lenet"), tmp_path, silent) for _ in range(2))
    assert first.costs is not None
    assert first.costs == second.costs
    assert (tmp_path / COSTS).exists()
    (settings,) = measured
    assert (settings["threads"], settings["max_seconds"], settings["seed"]) == (1, 2.0, 3)


def test_other_targets_and_costs_that_are_given_need_none(measured, tmp_path):
    network = load("digits_lenet")
    assert with_costs(plan(target_macs=0.5), network, tmp_path, silent).costs is None
    known = with_costs(plan(target_latency=0.5), network, tmp_path / "first", silent)
    assert with_costs(replace(known), network, tmp_path, silent) == known
    assert len(measured) == 1
    assert not (tmp_path / COSTS).exists()
