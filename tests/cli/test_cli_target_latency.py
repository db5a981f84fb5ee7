"""A target in latency: what is trained, or fitted, is a network that was timed and met it."""

import json
from pathlib import Path

import pytest
from msgspec.structs import replace

from compressor.benchmarking import benchmark as really_benchmark
from compressor.checkpoints import load
from compressor.codec import write_costs
from compressor.stages.costs import measure_costs
from compressor.training.states import States


@pytest.fixture(scope="module")
def costs(tiny, tmp_path_factory):
    """Measured, but then as if layers took time for their weights alone: here it is the rest that takes time."""
    out = tmp_path_factory.mktemp("costs") / "costs.json"
    found = measure_costs(load(tiny.checkpoint, arch=tiny.arch), checks=4, max_seconds=0.1)
    layers = [
        replace(one, us=tuple(tuple(float(into * outof) for outof in one.outputs) for into in one.inputs))
        for one in found.layers
    ]
    networks = {
        name: replace(one, scale=1.0, us_per_output=0.0, us_per_mac=0.0, fixed_us=0.0, dense_us=None)
        for name, one in found.networks.items()
    }
    write_costs(out, replace(found, layers=tuple(layers), networks=networks))
    return out


@pytest.fixture
def timed(monkeypatch):
    """Which latencies the benchmarks before a training tell; the last one again and again."""
    told = []

    def benchmark(files, **options):
        report = really_benchmark(files, max_seconds=0.1, pairs=2, rounds=1)
        ratio = told.pop(0) if len(told) > 1 else told[0]
        first = replace(report.comparisons[0], ratio=ratio, ci95=(ratio * 0.99, ratio * 1.01))
        return replace(report, comparisons=(first,))

    monkeypatch.setattr("compressor.stages.aim.benchmark", benchmark)
    return told


def target(costs):
    return ("--target-latency", 0.75, "--costs", costs, "--trials", 12, "--align", "auto:8")


def asked(compress, tiny, costs, command, *options):
    target_of = ("--arch", tiny.arch, *target(costs))
    done = compress(command, tiny.checkpoint, *target_of, *options, "--out", "a.pt", "--json", "-q")
    assert done.exit_code == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture
def others(monkeypatch):
    """Trials find that the network should lose the channels that the weights alone would leave."""
    monkeypatch.setattr("compressor.stages.trials.Trials.loss", lambda self, dropped: -float(dropped[0].sum()))


@pytest.mark.parametrize(("command", "options"), [("fine-tune", ("--epochs", 1)), ("prune", ())])
def test_the_network_that_is_made_is_one_that_was_timed(compress, tiny, costs, timed, others, command, options):
    timed += [0.5, 0.9]
    found = asked(compress, tiny, costs, command, *options)
    first, second = (trial["kept"] for trial in found["aims"]["trials"])
    assert second["0"] < first["0"]
    channels = found["channels"] if command == "prune" else found["projection"]["channels"]
    assert {name: kept for name, (_, kept) in channels.items()} == first


@pytest.mark.usefixtures("others")
def test_what_was_measured_is_not_measured_again_after_an_interruption(compress, tiny, costs, timed, monkeypatch):
    timed += [0.5, 0.9]
    undisturbed = asked(compress, tiny, costs, "fine-tune", "--epochs", 2)
    for path in (Path("a.pt"), Path("a.jsonl")):
        path.unlink()
    timed[:] = [0.5, 0.9]
    keep = States.keep

    def interrupted(*args):
        keep(*args)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(States, "keep", interrupted)
        command = ("--arch", tiny.arch, *target(costs), "--epochs", 2, "--out", "a.pt", "-q")
        assert compress("fine-tune", tiny.checkpoint, *command).exit_code == 130
    timed[:] = [9.0]  # which nothing would meet
    found = asked(compress, tiny, costs, "fine-tune", "--epochs", 2)
    assert found["projection"]["channels"] == undisturbed["projection"]["channels"]
    assert found["aims"] == undisturbed["aims"]
