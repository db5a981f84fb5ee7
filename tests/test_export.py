"""Exports take seconds, so most tests look at the same few files."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import nn

import compressor.export
from compressor.checkpoints import DataChoice, Metadata
from compressor.data.normalization import Normalization
from compressor.errors import EquivalenceError, UsageError
from compressor.export import check_opset, describe, export_onnx
from compressor.export.parity import check_parity
from compressor.sources import Architecture

EXAMPLE = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
METADATA = {"compressor.input_shape": "[3, 8, 8]", "note": "größer"}
KNOWN = Metadata(
    architecture=Architecture("tiny"),
    input_shape=(3, 8, 8),
    normalization=Normalization((0.5,), (0.25,)),
    classes=("a", "b"),
    data=DataChoice(ref="digits", split_seed=2, val_fraction=0.3),
)


class Net(nn.Module):
    """A linear layer and the forward around it."""

    def __init__(self, forward):
        super().__init__()
        self.linear = nn.Linear(192, 4)
        self._run = forward

    def forward(self, x):
        return self._run(self.linear, x)


def network():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout(0.5),
            nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4),
        ).eval()  # fmt: skip


def hard_coded_batch(linear, x):
    return linear(x.reshape(2, -1))


def branching(linear, x):
    scores = linear(x.flatten(1))
    # Of the input alone, whose draws are fixed: random weights could send every draw the same way.
    return scores * 2 if x.flatten()[-1] > 0 else scores


def never_finite(linear, x):
    return linear(x.flatten(1)) * float("nan")


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """The record, the file, and the value of torch.onnx.export's dynamo argument at every call."""
    dynamo, real = [], torch.onnx.export

    def spy(*args, **options):
        dynamo.append(options["dynamo"])
        return real(*args, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.onnx, "export", spy)
        path = tmp_path_factory.mktemp("export") / "sub" / "model.onnx"
        record = export_onnx(network(), EXAMPLE, path, metadata=METADATA, real_inputs=EXAMPLE)
    return record, path, dynamo


@pytest.fixture(scope="module")
def fallen_back(tmp_path_factory):
    path = tmp_path_factory.mktemp("old") / "model.onnx"
    return export_onnx(network(), EXAMPLE, path, opset=17), path


def opset_of(path):
    return {entry.domain: entry.version for entry in onnx.load(path).opset_import}[""]


def test_the_dynamo_exporter_is_really_the_one_that_ran(exported):
    record, _, dynamo = exported
    assert (record.exporter, record.fallback, dynamo) == ("dynamo", None, [True])


def test_the_default_opset_is_18(exported):
    assert exported[0].opset == opset_of(exported[1]) == 18


def test_opset_17_comes_from_the_other_exporter_and_says_why(fallen_back):
    record, path = fallen_back
    assert (record.exporter, record.opset, opset_of(path)) == ("torchscript", 17, 17)
    assert record.fallback == "dynamo: opset 17 was asked for, but the file has 18"


@pytest.mark.parametrize("batch", [1, 2, 7])
@pytest.mark.parametrize("which", ["exported", "fallen_back"])
def test_the_batch_is_really_dynamic(request, which, batch):
    path = request.getfixturevalue(which)[1]
    images = torch.randn(batch, 3, 8, 8, generator=torch.Generator().manual_seed(batch))
    (scores,) = onnxruntime.InferenceSession(path).run(None, {"input": images.numpy()})
    np.testing.assert_allclose(scores, network()(images).detach().numpy(), rtol=1e-4, atol=1e-5)


def test_the_metadata_can_be_read_back(exported):
    found = onnxruntime.InferenceSession(exported[1]).get_modelmeta().custom_metadata_map
    assert found == {**METADATA, "compressor.exporter": "dynamo"}


def test_the_checker_passes(exported):
    onnx.checker.check_model(str(exported[1]), full_check=True)


@pytest.mark.parametrize("which", ["exported", "fallen_back"])
def test_the_file_holds_no_path_of_this_machine(request, which):
    content = request.getfixturevalue(which)[1].read_bytes()
    places = (__file__, str(Path.home()), str(Path(torch.__file__).parent), tempfile.gettempdir(), ".py", "Traceback")
    assert not [place for place in places if place.encode() in content]


def test_the_parity_figures_say_what_was_compared(exported):
    parity = exported[0].parity
    assert parity.inputs == "3 seeds x batches 1, 2, 3, 2 real samples"
    assert parity.norm_rel <= 1e-5
    assert parity.top1_agreement == 1.0
    assert parity.sqnr_db > 80


def test_the_record_is_named_after_the_file(exported):
    assert exported[0].variant == "model"


def test_nothing_but_the_file_is_written(exported):
    assert [path.name for path in exported[1].parent.iterdir()] == ["model.onnx"]


@pytest.fixture(scope="module", params=[hard_coded_batch, branching, never_finite], ids=lambda run: run.__name__)
def refused(request, tmp_path_factory):
    folder, scratch = tmp_path_factory.mktemp("refused"), tmp_path_factory.mktemp("scratch")
    model = Net(request.param).train()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tempfile, "tempdir", str(scratch))
        with pytest.raises(EquivalenceError) as caught:
            export_onnx(model, EXAMPLE, folder / "model.onnx")
    left = [path for path in scratch.iterdir() if path.name.startswith("compressor-")]
    return str(caught.value), [*folder.iterdir(), *left], model


def test_a_network_that_cannot_be_exported_rightly_is_refused_in_one_line(refused):
    message, _, _ = refused
    assert message.startswith("cannot export to ONNX opset 18: dynamo: ")
    assert "; torchscript: " in message
    assert "\n" not in message
    assert "\x1b" not in message


def test_a_refused_export_leaves_nothing_behind(refused):
    assert refused[1] == []


def test_a_refused_export_restores_the_mode(refused):
    assert all(module.training for module in refused[2].modules())


def test_a_refused_export_keeps_the_older_file(tmp_path):
    path = tmp_path / "model.onnx"
    path.write_bytes(b"older")
    with pytest.raises(EquivalenceError):
        export_onnx(Net(never_finite), EXAMPLE, path)
    assert path.read_bytes() == b"older"


def test_every_module_gets_its_own_mode_back(tmp_path):
    model = network().train()
    model[1].eval()
    before = [module.training for module in model.modules()]
    export_onnx(model, EXAMPLE, tmp_path / "model.onnx")
    assert [module.training for module in model.modules()] == before


def test_a_dictionary_of_outputs_is_exported(tmp_path):
    model = Net(lambda linear, x: {"scores": linear(x.flatten(1))})
    assert export_onnx(model, EXAMPLE, tmp_path / "model.onnx").exporter == "dynamo"


def test_large_weights_go_into_a_second_file(tmp_path, monkeypatch):
    monkeypatch.setattr(compressor.export, "EXTERNAL_ABOVE", 100)
    export_onnx(nn.Sequential(nn.Flatten(), nn.Linear(192, 400)), EXAMPLE, tmp_path / "model.onnx")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.onnx", "model.onnx.data"]
    onnxruntime.InferenceSession(tmp_path / "model.onnx").run(None, {"input": EXAMPLE.numpy()})


@pytest.mark.parametrize("opset", [16, 24, 0, -1])
def test_an_opset_out_of_range_is_refused(opset):
    with pytest.raises(UsageError, match=rf"--opset must lie in 17\.\.23, got {opset}"):
        check_opset(opset)


def test_a_bad_opset_is_refused_before_any_work(tmp_path):
    with pytest.raises(UsageError, match="--opset must lie in"):
        export_onnx(Net(never_finite), EXAMPLE, tmp_path / "model.onnx", opset=99)


def test_describe_gives_what_evaluate_needs():
    found = {key: json.loads(value) for key, value in describe(KNOWN).items()}
    assert found == {
        "compressor.input_shape": [3, 8, 8],
        "compressor.normalization": {"mean": [0.5], "std": [0.25]},
        "compressor.classes": ["a", "b"],
        "compressor.data": vars(KNOWN.data),
    }


def test_describe_is_silent_about_what_is_unknown():
    known = Metadata(architecture=Architecture("tiny"), input_shape=(3, 8, 8))
    assert set(describe(known)) == {"compressor.input_shape"}


# The parity gate alone, against the good file.


def test_parity_of_other_weights_is_refused(exported):
    other = network()
    with torch.no_grad():
        other[6].bias += 1e-3
    with pytest.raises(EquivalenceError, match=r"outputs differ from PyTorch's by .* of their scale \(allowed 1e-05\)"):
        check_parity(other, exported[1], EXAMPLE, None)


def test_a_nan_that_only_real_inputs_bring_is_refused(exported):
    bad = torch.full((1, 3, 8, 8), float("nan"))
    with pytest.raises(EquivalenceError, match="outputs differ from PyTorch's by inf"):
        check_parity(network(), exported[1], EXAMPLE, bad)


def test_another_output_shape_is_refused(exported):
    other = network()
    other[6] = nn.Linear(8, 5)
    with pytest.raises(EquivalenceError, match="an output has another shape than PyTorch's at some batch size"):
        check_parity(other, exported[1], EXAMPLE, None)


def test_another_number_of_outputs_is_refused(exported):
    model = network()
    both = Net(lambda linear, x: (model(x), model(x)))
    with pytest.raises(EquivalenceError, match="the file has another number of outputs than PyTorch's"):
        check_parity(both, exported[1], EXAMPLE, None)


def test_a_file_that_cannot_run_is_refused(tmp_path):
    path = tmp_path / "broken.onnx"
    path.write_bytes(b"no model")
    with pytest.raises(EquivalenceError, match="ONNX Runtime cannot run the file"):
        check_parity(network(), path, EXAMPLE, None)


class Squeezed(nn.Sequential):
    def forward(self, x):
        return super().forward(x).squeeze()


def test_a_squeeze_that_drops_the_batch_is_named(tmp_path):
    model = nn.Sequential(Squeezed(nn.Conv2d(3, 8, 3), nn.AdaptiveAvgPool2d(1)), nn.Linear(8, 4)).eval()
    with pytest.raises(EquivalenceError, match=r"squeeze\(\) without a dimension in 0 drops a batch of one too: name"):
        export_onnx(model, torch.randn(2, 3, 8, 8), tmp_path / "x.onnx")
