"""Targets in bytes and in latency: what is built and measured before a training, and what it then keeps to."""

from __future__ import annotations

import itertools
import tempfile
from pathlib import Path

import pytest
import torch
from msgspec.structs import replace
from torch import nn

from compressor.benchmarking import benchmark as really_benchmark
from compressor.checkpoints import Metadata, Network
from compressor.codec import read_costs, write_costs
from compressor.errors import CompressorError, CompressorWarning, TargetNotMet, UsageError
from compressor.export import export_onnx
from compressor.groups import find_groups
from compressor.pipeline.targets import measured_targets
from compressor.progress import silent
from compressor.records.costs import MOST_COPIES, Aims
from compressor.sources import Architecture
from compressor.splitting import Splitting, SplittingConfig
from compressor.splitting.prunable import Prunable
from compressor.splitting.selection import Selection
from compressor.stages.aim import SPARE, SPARE_COMPRESSED, Runtime, aim, aim_settled, costs_in, stored_bytes
from compressor.stages.costs import measure_costs, require_same


def network():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        layers = [nn.Conv2d(3, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(), nn.Conv2d(32, 48, 3, padding=1)]
        model = nn.Sequential(*layers, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(48, 10)).eval()
    return Network(model, Metadata(architecture=Architecture("tiny"), input_shape=(3, 8, 8)))


@pytest.fixture(scope="module")
def costs():
    """Really measured, but for a moment only."""
    return measure_costs(network(), checks=6, max_seconds=0.5)


def dense_bytes(net, folder, *, compressed=False):
    export_onnx(net.model, net.example_input(), folder / "whole.onnx")
    return stored_bytes(folder / "whole.onnx", compressed=compressed)


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("share", [0.4, 0.8])
def test_a_size_is_met_by_the_file_that_is_written_and_nearly_used_up(tmp_path, share, compressed):
    net = network()
    asked = share * dense_bytes(net, tmp_path, compressed=compressed)
    found = aim(net, SplittingConfig(target_size=asked, compressed=compressed))
    best = max(trial.size for trial in found.trials if trial.size <= asked)
    assert best > 0.7 * asked
    assert 0 < found.shares["size"] < 1


@pytest.mark.slow
def test_zeros_make_room_in_a_compressed_file(tmp_path):
    net = network()
    asked = 0.5 * dense_bytes(net, tmp_path, compressed=True)
    plain = aim(net, SplittingConfig(target_size=asked, compressed=True))
    zeros = aim(net, SplittingConfig(target_size=asked, compressed=True, target_zeros=0.8))
    assert zeros.shares["size"] > plain.shares["size"]


def test_a_size_below_that_of_the_smallest_network_is_refused_with_what_can_be_reached():
    with pytest.raises(TargetNotMet, match=r"--target-size 900 asked, [\d,]+ bytes is the least"):
        aim(network(), SplittingConfig(target_size=900))


def test_what_was_aimed_at_is_what_a_splitting_keeps():
    net = network()
    aims = aim(net, SplittingConfig(target_size=9000))
    with torch.random.fork_rng():
        splitting = Splitting(net.model, net.example_input(), total_steps=10, target_size=9000, aims=aims)
        splitting.step = 10
        splitting.revise()
    assert dict(zip((g.name for g in splitting.groups), splitting.kept, strict=True)) in [t.kept for t in aims.trials]


def test_without_such_targets_nothing_is_measured():
    assert aim(network(), SplittingConfig(target_macs=0.5)) == Aims()


def fake_benchmark(monkeypatch, ratios):
    """Benchmarks tell the latencies of a list, one after the other, within 1 %."""
    told = iter(ratios)

    def benchmark(files, **options):
        report = really_benchmark(files, max_seconds=0.1, pairs=2, rounds=1)
        ratio = next(told)
        return replace(
            report, comparisons=(replace(report.comparisons[0], ratio=ratio, ci95=(ratio * 0.99, ratio * 1.01)),)
        )

    monkeypatch.setattr("compressor.stages.aim.benchmark", benchmark)


@pytest.mark.slow
def test_a_latency_that_is_missed_is_aimed_at_anew(monkeypatch, costs):
    fake_benchmark(monkeypatch, [0.8, 0.7])
    found = aim(network(), SplittingConfig(target_latency=0.7), costs=costs)
    first, second = found.trials[:2]
    assert (first.latency, second.latency) == (0.8, 0.7)
    assert second.kept != first.kept
    assert 0.5 < found.shares["latency"] < 0.7


def test_a_latency_is_met_when_its_interval_does_not_lie_above_the_target(monkeypatch, costs):
    fake_benchmark(monkeypatch, [0.705] * 4)
    found = aim(network(), SplittingConfig(target_latency=0.7), costs=costs)
    assert 0.5 < found.shares["latency"] < 0.7


@pytest.mark.slow
def test_a_latency_that_no_network_meets_is_refused_with_what_was_measured(monkeypatch, costs):
    fake_benchmark(monkeypatch, [1.2] * 4)
    with pytest.raises(TargetNotMet, match=r"--target-latency 0.7 asked, 1.200 measured"):
        aim(network(), SplittingConfig(target_latency=0.7), costs=costs)


def test_costs_of_another_processor_are_believed(monkeypatch, costs):
    fake_benchmark(monkeypatch, [])
    elsewhere = replace(costs, environment=replace(costs.environment, cpu_model="another one"))
    net = network()
    found = aim(net, SplittingConfig(target_latency=0.7), costs=elsewhere)
    assert found == Aims(costs=elsewhere)
    splitting = Splitting(net.model, net.example_input(), total_steps=1, target_latency=0.7, aims=found)
    splitting.after_step()
    with pytest.warns(CompressorWarning, match="a gap of"):
        (target,) = splitting.project().targets
    assert target.met
    assert target.reached <= 0.7
    measured = really_measured(net, costs)
    assert measured_targets([target], measured, elsewhere) == (target,)
    assert measured_targets([target], measured, costs)[0].ci95 is not None


def really_measured(net, costs):
    """A benchmark of two files on the processor of ``costs``."""
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder) / name for name in ("dense.onnx", "small.onnx")]
        for file in files:
            export_onnx(net.model, net.example_input(), file)
        return really_benchmark(files, max_seconds=0.1, pairs=2, rounds=1)


def test_a_latency_needs_to_be_measured():
    net = network()
    with pytest.raises(UsageError, match=r"--target-latency 0.5 needs to know what layers cost"):
        Splitting(net.model, net.example_input(), total_steps=10, target_latency=0.5)


def test_costs_have_every_layer_between_its_least_and_whole_width(costs):
    widths = {(one.layer.kind, one.inputs[-1], one.outputs[-1]) for one in costs.layers}
    assert widths == {("convolution", 3, 32), ("convolution", 32, 48), ("linear", 48, 10)}
    # The network could hold the one that has most of its weights once, and many of the others.
    assert {one.layer.copies for one in costs.layers if one.inputs[-1] == 32} == {1}
    assert {one.layer.copies for one in costs.layers if one.inputs[-1] != 32} == {MOST_COPIES}
    assert all(one.us[-1][-1] > 0 for one in costs.layers)
    (fit,) = costs.networks.values()
    assert len(fit.checks) == 6
    assert fit.worst_error >= fit.median_error >= 0


@pytest.mark.slow
def test_known_layers_are_not_measured_again(monkeypatch, costs):
    def layer_costs(wanted, **options):
        assert not wanted
        return ()

    monkeypatch.setattr("compressor.stages.costs.layer_costs", layer_costs)
    again = measure_costs(network(), checks=6, max_seconds=0.1, known=costs)
    assert again.layers == costs.layers


def test_costs_are_measured_as_the_network_is_to_be_run(monkeypatch, costs):
    told = {}

    def measured(network, groups, **options):
        told.update(options)
        return costs

    monkeypatch.setattr("compressor.stages.aim.measure_costs", measured)
    runtime = Runtime(threads=2, provider="openvino", max_seconds=3.0, seed=4, allow_fallback=True)
    assert costs_in(runtime, network(), None, silent) == costs
    assert told | {"progress": None} == {
        "threads": 2,
        "provider": "openvino",
        "max_seconds": 3.0,
        "seed": 4,
        "allow_fallback": True,
        "progress": None,
    }


def test_costs_of_another_machine_or_other_settings_are_refused(costs):
    other = replace(costs.environment, cpu_model="another one")
    with pytest.raises(UsageError, match="the costs are those of processor"):
        measure_costs(network(), known=replace(costs, environment=other))
    with pytest.raises(UsageError, match="the costs are those of --batch 1, not 2"):
        measure_costs(network(), known=costs, batch=2)
    assert require_same


def test_costs_travel_in_a_file(tmp_path, costs):
    write_costs(tmp_path / "costs.json", costs)
    assert read_costs(tmp_path / "costs.json") == costs
    write_costs(tmp_path / "newer.json", replace(costs, schema_version=99))
    with pytest.raises(CompressorError, match="schema version 99, newer than"):
        read_costs(tmp_path / "newer.json")


def test_nothing_to_prune_is_nothing_to_measure():
    net = Network(nn.Linear(3, 2).eval(), Metadata(architecture=Architecture("tiny"), input_shape=(3,)))
    assert not [g for g in find_groups(net.model, net.example_input()) if g.prunable]
    with pytest.raises(UsageError, match="no channel of this network can be removed"):
        measure_costs(net)


def settled(net, aims):
    """A selection whose spread is that of the weights, turned upside down."""
    wanted = SplittingConfig(target_latency=0.7, saliency="weights")
    prunable = Prunable(net.model, net.example_input(), find_groups(net.model, net.example_input()), wanted)
    selection = Selection(prunable, wanted, aims)
    losses = itertools.count(0, -1)
    selection.settle(lambda dropped: next(losses), 3)
    return wanted, selection


@pytest.mark.parametrize(
    ("ratios", "ends"),
    [([0.69], 0), ([0.8, 0.7], 1), ([0.5, 0.9, 0.72, 0.71], 0), ([0.5, 0.69], 1)],
    ids=["met", "missed", "the others missed", "far below"],
)
def test_the_network_that_was_settled_on_is_measured_until_it_meets_the_target(monkeypatch, costs, ratios, ends):
    """And then trained as it was measured, the largest of those that met it."""
    net, aims = network(), Aims(costs=costs, shares={"latency": 0.9})
    fake_benchmark(monkeypatch, ratios)
    wanted, selection = settled(net, aims)
    found = aim_settled(net, wanted, selection, aims)
    told = [trial.latency for trial in found.trials]
    assert told == ratios[: len(told)]  # none is measured twice
    assert len(told) > ends
    selection.select()
    kept = dict(zip((group.name for group in selection.prunable.groups), selection.kept, strict=True))
    assert found.trials[ends].kept == kept
    assert found.shares == {"latency": selection.shares["latency"]}


@pytest.mark.parametrize("compressed", [False, True])
def test_a_settled_size_leaves_room_for_what_training_changes(tmp_path, compressed):
    net = network()
    asked = 0.6 * dense_bytes(net, tmp_path, compressed=compressed)
    wanted = SplittingConfig(target_size=asked, compressed=compressed, saliency="weights")
    aims = aim(net, wanted)
    prunable = Prunable(net.model, net.example_input(), find_groups(net.model, net.example_input()), wanted)
    selection = Selection(prunable, wanted, aims)
    losses = itertools.count(0, -1)
    selection.settle(lambda dropped: next(losses), 3)
    found = aim_settled(net, wanted, selection, aims)
    selection.select()
    kept = dict(zip((group.name for group in prunable.groups), selection.kept, strict=True))
    (size,) = (trial.size for trial in found.trials if trial.kept == kept)
    assert 0.7 * asked < size <= (1 - (SPARE_COMPRESSED if compressed else SPARE)) * asked


def test_a_network_that_was_measured_already_is_not_measured_again(monkeypatch, costs):
    net, aims = network(), Aims(costs=costs, shares={"latency": 0.9})
    fake_benchmark(monkeypatch, [0.69])
    wanted, selection = settled(net, aims)
    found = aim_settled(net, wanted, selection, aims)
    assert aim_settled(net, wanted, selection, found) == found


def test_a_settled_network_that_cannot_meet_the_target_is_refused(monkeypatch, costs):
    net, aims = network(), Aims(costs=costs, shares={"latency": 0.9})
    fake_benchmark(monkeypatch, [1.2] * 4)
    wanted, selection = settled(net, aims)
    with pytest.raises(TargetNotMet, match=r"--target-latency 0.7 asked, 1.200 measured"):
        aim_settled(net, wanted, selection, aims)


def test_a_target_that_needs_no_measurement_is_left_alone(monkeypatch):
    fake_benchmark(monkeypatch, [])
    net, wanted = network(), SplittingConfig(target_macs=0.5)
    prunable = Prunable(net.model, net.example_input(), find_groups(net.model, net.example_input()), wanted)
    assert aim_settled(net, wanted, Selection(prunable, wanted), Aims()) == Aims()
