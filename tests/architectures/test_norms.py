"""Norms that go on dividing by the old width: what they compute, and which norms they are recognised in."""

from __future__ import annotations

import onnx
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from compressor.architectures.norms import SlimLayerNorm, SlimRMSNorm
from compressor.checkpoints.structure import Edit, difference, replay
from compressor.errors import CheckpointError
from compressor.export import export_onnx
from compressor.surgery.norms import slim_norm

KEPT = torch.tensor([0, 2, 3, 7])


class ByHand(nn.Module):
    """Over the channels of images; ``eps`` is what it says, ``used`` what it adds."""

    def __init__(self, eps=1e-5, used=None, offset=0.0):
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(8)), nn.Parameter(torch.zeros(8))
        self.eps, self.used, self.offset = eps, eps if used is None else used, offset

    def forward(self, x):
        mean = x.mean(1, keepdim=True)
        variance = (x - mean).square().mean(1, keepdim=True)
        normed = (x - mean) / torch.sqrt(variance + self.used)
        return (self.weight + self.offset)[:, None, None] * normed + self.bias[:, None, None]


class Single(nn.Module):
    """Root mean squares, computed in float32 whatever comes in."""

    def __init__(self):
        super().__init__()
        self.weight, self.variance_epsilon = nn.Parameter(torch.ones(8)), 1e-6

    def forward(self, x):
        wide = x.to(torch.float32)
        return self.weight * (wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + self.variance_epsilon)).to(
            x.dtype
        )


KNOWN = {
    "layer norm": (nn.LayerNorm(8), SlimLayerNorm, 0),
    "layer norm without bias": (nn.LayerNorm(8, bias=False), SlimLayerNorm, 0),
    "torch's own of root mean squares": (nn.RMSNorm(8), SlimRMSNorm, 0),
    "root mean squares by hand": (Single(), SlimRMSNorm, 0),
    "images by hand": (ByHand(), SlimLayerNorm, 2),
}
UNKNOWN = {
    "no weights": nn.LayerNorm(8, elementwise_affine=False),
    "over all places": nn.LayerNorm((8, 4)),
    "another number is added than it says": ByHand(eps=1e-5, used=1e-3),
    "one is added to the weights": ByHand(offset=1.0),
    "over places too": nn.GroupNorm(1, 8),
    "over the batch": nn.BatchNorm1d(8),
    "no norm": nn.PReLU(8),
    "a layer": nn.Linear(8, 8),
}


def seeded(norm):
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in norm.parameters():
            parameter.uniform_(0.5, 1.5, generator=generator)
    return norm.double()


@pytest.mark.parametrize(("norm", "kind", "trailing"), KNOWN.values(), ids=KNOWN)
def test_a_norm_is_recognised_by_what_it_does(norm, kind, trailing):
    slim = slim_norm(norm)
    assert type(slim) is kind
    assert (slim.trailing, slim.channels, slim.full_width) == (trailing, 8, 8)
    assert slim.weight is norm.weight


@pytest.mark.parametrize("norm", UNKNOWN.values(), ids=UNKNOWN)
def test_what_does_something_else_is_not(norm):
    assert slim_norm(norm) is None


def shortened(slim, kept=KEPT):
    slim.weight = nn.Parameter(slim.weight[kept])
    if slim.bias is not None:
        slim.bias = nn.Parameter(slim.bias[kept])
    return slim


@pytest.mark.parametrize("scale", [1e-4, 1.0, 1e4])
@pytest.mark.parametrize("norm", [nn.LayerNorm(8), nn.LayerNorm(8, bias=False), nn.RMSNorm(8), nn.RMSNorm(8, eps=1e-3)])
def test_channels_of_zeros_can_be_left_out(norm, scale):
    dense = seeded(norm)
    x = torch.zeros(3, 5, 8, dtype=torch.float64)
    x[..., KEPT] = scale * torch.randn(3, 5, 4, dtype=torch.float64) + 0.3
    slim = shortened(slim_norm(dense))
    torch.testing.assert_close(slim(x[..., KEPT]), dense(x)[..., KEPT], rtol=1e-12, atol=1e-12)


def test_images_with_channels_in_front_too():
    dense = seeded(ByHand())
    x = torch.zeros(2, 8, 3, 4, dtype=torch.float64)
    x[:, KEPT] = torch.randn(2, 4, 3, 4, dtype=torch.float64) + 0.3
    torch.testing.assert_close(shortened(slim_norm(dense))(x[:, KEPT]), dense(x)[:, KEPT], rtol=1e-12, atol=1e-12)


def test_a_large_mean_costs_no_digits():
    x = torch.randn(4, 8) + 1000
    expected = F.layer_norm(x.double(), (8,))
    found = slim_norm(nn.LayerNorm(8))(x)
    assert (found - expected).abs().max() < 1e-3


@pytest.mark.parametrize("norm", [nn.LayerNorm(8), nn.RMSNorm(8)])
def test_half_precision_does_not_overflow(norm):
    x = torch.randn(4, 8) * 1000
    found = slim_norm(norm).half()(x.half())
    torch.testing.assert_close(found.float(), norm.float()(x).float(), rtol=1e-2, atol=1e-2)


def small_pair():
    dense, small = (nn.Sequential(nn.Linear(3, 8), nn.LayerNorm(8)) for _ in range(2))
    small[1] = shortened(slim_norm(small[1]))
    small[0] = nn.Linear(3, 4)
    return dense, small


def test_an_edit_of_a_checkpoint_makes_it_again():
    dense, small = small_pair()
    edits = [Edit.from_plain(edit.to_plain()) for edit in difference(dense, small)]
    replay(dense, tuple(edits))
    dense.load_state_dict(small.state_dict())
    x = torch.randn(2, 3)
    torch.testing.assert_close(dense(x), small(x), rtol=0, atol=0)


@pytest.mark.parametrize(
    ("module", "sizes"),
    [
        ("1", {"channels": 9, "full_width": 8, "trailing": 0}),
        ("1", {"channels": 4, "full_width": 8, "trailing": 7}),
        ("1", {"channels": 4, "full_width": 8}),
        ("2", {"channels": 4, "full_width": 8, "trailing": 0}),
    ],
)
def test_an_edit_that_no_norm_fits_is_refused(module, sizes):
    model = nn.Sequential(nn.Linear(3, 8), nn.LayerNorm(8), nn.ReLU())
    edit = Edit.from_plain({"edit": "layer norm", "module": module, "sizes": sizes, "tensors": {}})
    with pytest.raises(CheckpointError, match="does not say what the layer norm needs"):
        replay(model, (edit,))


@pytest.mark.parametrize("bias", [True, False])
def test_a_file_for_runtimes_has_the_operation_that_they_know(tmp_path, bias):
    dense = seeded(nn.LayerNorm(8, bias=bias)).float()
    slim = SlimLayerNorm(dense, channels=4, full_width=8, trailing=0)
    for name, tensor in slim.named_parameters():
        tensor.data = getattr(dense, name).data[KEPT]
    # Its outputs are compared with those of the network in PyTorch.
    export_onnx(slim, torch.randn(2, 5, 4), tmp_path / "slim.onnx")
    operations = [node.op_type for node in onnx.load(tmp_path / "slim.onnx").graph.node]
    assert "LayerNormalization" in operations
    assert "ReduceMean" not in operations
