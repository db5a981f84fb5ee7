from __future__ import annotations

import json
import zipfile

import pytest
import torch
from torch import nn

import compressor.export.program
from compressor.errors import EquivalenceError
from compressor.export.program import METADATA, export_program

EXAMPLE = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def network():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout(0.5),
            nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4),
        )  # fmt: skip


class Net(nn.Module):
    """A linear layer and the forward around it."""

    def __init__(self, forward):
        super().__init__()
        self.linear = nn.Linear(192, 4)
        self._run = forward

    def forward(self, x):
        return self._run(self.linear, x)


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    path = tmp_path_factory.mktemp("program") / "sub" / "model.pt2"
    return export_program(network(), EXAMPLE, path, metadata={"compressor.input_shape": "[3, 8, 8]"}), path


@pytest.mark.parametrize("batch", [1, 2, 7])
def test_the_program_gives_the_networks_outputs_at_any_batch(exported, batch):
    images = torch.randn(batch, 3, 8, 8, generator=torch.Generator().manual_seed(batch))
    found = torch.export.load(exported[1]).module()(images)
    torch.testing.assert_close(found, network().eval()(images))


def test_the_proof_is_in_the_result(exported):
    record, _ = exported
    assert record.parity.norm_rel <= 1e-5
    assert (record.variant, record.exporter, record.opset) == ("model", "torch.export", None)
    assert record.torch == torch.__version__


def test_the_metadata_can_be_read_back(exported):
    extra = {METADATA: ""}
    torch.export.load(exported[1], extra_files=extra)
    assert json.loads(extra[METADATA]) == {"compressor.input_shape": "[3, 8, 8]"}


def test_no_path_of_this_machine_is_in_the_file(exported):
    with zipfile.ZipFile(exported[1]) as archive:
        text = b"".join(archive.read(name) for name in archive.namelist())
    assert b".py" not in text


def test_the_mode_of_the_network_is_left_alone(tmp_path):
    model = network().train()
    export_program(model, EXAMPLE, tmp_path / "model.pt2")
    assert model.training


@pytest.mark.parametrize(
    ("forward", "message"),
    [
        (lambda linear, x: linear(x.reshape(2, -1)), "the exporter failed"),
        (lambda linear, x: linear(x.flatten(1)) * float("nan"), "outputs differ from PyTorch's by inf"),
    ],
)
def test_a_program_that_is_not_the_network_is_not_written(forward, message, tmp_path):
    with pytest.raises(EquivalenceError, match=message):
        export_program(Net(forward), EXAMPLE, tmp_path / "model.pt2")
    assert not list(tmp_path.iterdir())


def test_a_program_with_other_outputs_is_not_written(tmp_path, monkeypatch):
    real = compressor.export.program._exported

    def wrong(model, example):
        return real(nn.Sequential(model, nn.Tanh()).eval(), example)

    monkeypatch.setattr(compressor.export.program, "_exported", wrong)
    with pytest.raises(EquivalenceError, match="outputs differ from PyTorch's by"):
        export_program(network(), EXAMPLE, tmp_path / "model.pt2")
    assert not list(tmp_path.iterdir())
