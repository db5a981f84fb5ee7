from pathlib import Path

import pytest
import torch
from torch import nn

import compressor
from compressor.architectures.attention import SlimAttention
from compressor.layer_kinds import MAKERS, agrees, matrices, output_axis

LAYERS = {
    "convolution": (nn.Conv2d(3, 5, 2), {"weight": 0}),
    "convolution in groups": (nn.Conv1d(4, 6, 2, groups=2), {"weight": 0}),
    "transposed convolution": (nn.ConvTranspose2d(3, 5, 2), {"weight": 1}),
    "transposed convolution in groups": (nn.ConvTranspose1d(4, 6, 2, groups=2), {"weight": 0}),
    "linear": (nn.Linear(3, 5), {"weight": 0}),
    "embedding": (nn.Embedding(7, 5), {"weight": 1}),
    "gru": (nn.GRU(3, 5), {"weight_ih_l0": 0, "weight_hh_l0": 0}),
    "attention": (nn.MultiheadAttention(4, 2), {"in_proj_weight": 0}),
    "attention of other widths": (
        nn.MultiheadAttention(4, 2, kdim=6, vdim=8),
        {"q_proj_weight": 0, "k_proj_weight": 0, "v_proj_weight": 0},
    ),
    "slim attention": (SlimAttention.equal(nn.MultiheadAttention(4, 2)), {"in_proj_weight": 0}),
}


@pytest.mark.parametrize(("layer", "expected"), LAYERS.values(), ids=LAYERS)
def test_every_layer_says_by_which_weights_it_makes_channels(layer, expected):
    assert isinstance(layer, MAKERS)
    assert matrices(layer) == expected


@pytest.mark.parametrize(
    "layer", [nn.Conv2d(3, 5, 1), nn.ConvTranspose2d(3, 5, 1), nn.ConvTranspose3d(3, 5, 1), nn.Linear(3, 5)], ids=str
)
def test_as_many_outputs_lie_on_the_output_axis_as_the_layer_makes(layer):
    example = torch.ones(2, 3, *(4,) * (layer.weight.ndim - 2))
    assert layer.weight.shape[output_axis(layer)] == layer(example).shape[1]


@pytest.mark.parametrize(("layer", "_"), LAYERS.values(), ids=LAYERS)
def test_a_fresh_layer_agrees_with_itself(layer, _):
    assert agrees(layer)


def test_kinds_of_convolutions_are_listed_once():
    package = Path(compressor.__file__).parent
    mentions = [p.name for p in package.rglob("*.py") if "nn.ConvTranspose" in p.read_text(encoding="utf-8")]
    assert mentions == ["layer_kinds.py"]
