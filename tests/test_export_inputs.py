"""Networks with several inputs, or with words for numbers: exported, called by their names, and compared."""

from __future__ import annotations

import onnxruntime
import pytest
import torch
from torch import nn

from compressor.errors import EquivalenceError
from compressor.export import export_onnx
from compressor.export.parity import check_parity
from compressor.export.program import export_program


class Weighed(nn.Module):
    """The mean of some words, weighed by what comes with them."""

    def __init__(self):
        super().__init__()
        self.words, self.head = nn.Embedding(11, 8), nn.Linear(8, 4)

    def forward(self, tokens, weight=None):
        mean = self.head(self.words(tokens).mean(1))
        return mean if weight is None else mean * weight


TOKENS = torch.tensor([[1, 2, 3], [10, 9, 8]])
WEIGHT = torch.tensor([[0.5], [2.0]])
INPUTS = {
    "words": (TOKENS, ["input"]),
    "several": ((TOKENS, WEIGHT), ["tokens", "weight"]),
    "by name": ({"weight": WEIGHT, "tokens": TOKENS}, ["tokens", "weight"]),
}


def weighed():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Weighed().eval()


@pytest.mark.parametrize("case", INPUTS)
def test_onnx_names_the_inputs_in_the_order_of_forward(case, tmp_path):
    inputs, names = INPUTS[case]
    export_onnx(weighed(), inputs, tmp_path / "m.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "m.onnx")
    assert [entry.name for entry in session.get_inputs()] == names


@pytest.mark.parametrize("case", INPUTS)
@pytest.mark.parametrize("opset", [17, 18])
def test_every_batch_is_dynamic(case, opset, tmp_path):
    exported = export_onnx(weighed(), INPUTS[case][0], tmp_path / "m.onnx", opset=opset)
    shapes = [entry.shape[0] for entry in onnxruntime.InferenceSession(tmp_path / "m.onnx").get_inputs()]
    assert set(shapes) == {"batch"}
    assert exported.parity.norm_rel <= 1e-5


@pytest.mark.parametrize("case", INPUTS)
def test_a_program_takes_them_too(case, tmp_path):
    assert export_program(weighed(), INPUTS[case][0], tmp_path / "m.pt2").parity.norm_rel <= 1e-5


def test_another_word_is_noticed(tmp_path):
    path = tmp_path / "m.onnx"
    export_onnx(weighed(), TOKENS, path)
    other = weighed()
    with torch.no_grad():
        other.words.weight[10] += 1e-2
    with pytest.raises(EquivalenceError, match="outputs differ from PyTorch's"):
        check_parity(other, path, TOKENS, None)
