"""A stage gives the same record from Python, from its command and in a run."""

from pathlib import Path

import pytest

import compressor
from compressor.codec import decode
from compressor.pipeline.finished import Finished
from compressor.pipeline.plan import RunPlan
from compressor.records.benchmark import BenchmarkReport
from compressor.records.run import Export
from compressor.records.stages import Evaluation, FineTuning, Inspection, Shrinking
from compressor.stages.evaluate import evaluate, evaluate_onnx
from compressor.stages.export import export
from compressor.stages.fine_tune import fine_tune
from compressor.stages.inspect import inspect
from compressor.stages.recover import recover
from compressor.stages.shrink import shrink
from compressor.training.views import Views, ask, draw_views

RECIPE = compressor.Recipe(epochs=1, lr=0.1, batch_size=32, seed=1)
TRAINING = ("--epochs", 1, "--lr", 0.1, "--batch-size", 32, "--seed", 1)


# The trainings of a run are the two parts of one.
PLAN = RunPlan(
    recipe=compressor.Recipe(epochs=2, lr=0.1, batch_size=32, seed=1),
    penalties=compressor.SplittingConfig(target_macs=0.5),
)


@pytest.fixture
def views(network, data):
    """What the dense network of a run says, asked once."""
    drawn = draw_views(data, PLAN.views, PLAN.recipe.seed)
    return Views(drawn, ask(network.model, data, drawn, network.metadata.normalization))


@pytest.fixture
def folder(finished):
    return finished[0]


@pytest.fixture
def in_run(folder):
    """The record of a stage in the folder of the run."""

    def read(stage, kind):
        file = folder / "stages" / f"{stage}.json"
        return decode(file.read_bytes(), kind, str(file)).result

    return read


@pytest.fixture
def by_command(compress):
    """The record that a command prints; what else is in its document is left out."""

    def run(kind, *args):
        done = compress(*args, "--trust-arch", "--json")
        assert done.exit_code == 0, done.stderr
        return decode(done.stdout.encode(), kind, "stdout")

    return run


@pytest.fixture
def network(tiny):
    return compressor.load(tiny.checkpoint, trust_arch=True)


@pytest.fixture
def data(tiny):
    return compressor.load_data(tiny.data)


def at(file):
    return compressor.load(file, trust_arch=True)


def test_evaluate(tiny, network, data, in_run, by_command):
    record = evaluate(network, data)
    assert record == in_run("dense", Finished[Evaluation])
    assert record == by_command(Evaluation, "evaluate", tiny.checkpoint)


def test_evaluate_onnx(folder, network, data, by_command):
    file = folder / "small.onnx"
    record = evaluate_onnx(file, data, network.metadata.normalization)
    report = compressor.codec.read_report(folder / "report.json")
    assert record.metric == report.stages[-1].metric
    # An ONNX file needs no word of trust.
    assert record.metric == evaluate(at(folder / "recovered.pt"), data).metric


def test_fine_tune(tiny, network, data, views, in_run, by_command):
    teacher = ("--teacher", tiny.checkpoint)
    options = ("--target-macs", 0.5, *TRAINING, *teacher, "--out", "a.pt")
    in_a_run = fine_tune(network, data, PLAN.sparse, PLAN.penalties, teacher=network.model, views=views).record
    assert in_a_run == in_run("fine-tune", Finished[FineTuning])
    record = fine_tune(network, data, RECIPE, PLAN.penalties, teacher=network.model).record
    assert record == by_command(FineTuning, "fine-tune", tiny.checkpoint, *options)


def test_shrink(folder, data, in_run, by_command):
    record = shrink(at(folder / "sparse.pt"), data).record
    assert "16 real samples" in record.removal.inputs
    assert record == in_run("shrink", Finished[Shrinking])
    assert record == by_command(Shrinking, "shrink", folder / "sparse.pt", "--data", data.ref, "--out", "a.pt")


def test_recover(tiny, folder, network, data, views, in_run, by_command):
    small = at(folder / "shrunk.pt")
    in_a_run = recover(small, data, PLAN.recovery, teacher=network.model, views=views).record
    assert in_a_run == in_run("recover", Finished[FineTuning])
    record = recover(small, data, RECIPE, teacher=network.model).record
    command = (
        "recover",
        folder / "shrunk.pt",
        *TRAINING,
        "--data",
        data.ref,
        "--teacher",
        tiny.checkpoint,
        "--out",
        "a.pt",
    )
    assert record == by_command(FineTuning, *command)


def test_export(folder, data, in_run, by_command):
    record = export(at(folder / "recovered.pt"), Path("small.onnx"), data)
    assert "16 real samples" in record.parity.inputs
    assert record == in_run("export", Finished[tuple[Export, ...]])[1]
    command = ("export", folder / "recovered.pt", "--data", data.ref, "--out", "b/small.onnx")
    assert record == by_command(Export, *command)


def test_inspect(tiny, network, by_command):
    assert inspect(network) == by_command(Inspection, "inspect", tiny.checkpoint)


@pytest.mark.slow
def test_benchmark(folder, in_run, compress):
    files = [folder / "dense.onnx", folder / "small.onnx"]
    kept = in_run("benchmark", Finished[BenchmarkReport])
    measured = compressor.benchmark(files, seed=1, max_seconds=0.5)
    printed = compress("benchmark", *files, "--seed", 1, "--max-seconds", 0.5, "--json").stdout
    for other in (measured, decode(printed.encode(), BenchmarkReport, "stdout")):
        assert other.settings == kept.settings
        assert [(v.name, v.sha256, v.macs, v.size) for v in other.variants] == [
            (v.name, v.sha256, v.macs, v.size) for v in kept.variants
        ]


@pytest.mark.parametrize("name", ["evaluate", "fine_tune", "inspect", "recover"])
def test_the_package_offers_the_same_functions(name):
    functions = {"evaluate": evaluate, "fine_tune": fine_tune, "inspect": inspect, "recover": recover}
    assert getattr(compressor, name) is functions[name]
