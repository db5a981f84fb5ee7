"""Our attention gives what torchvision's in Swin and MaxViT gives, and takes the place of nothing else."""

from __future__ import annotations

import ast
import inspect
from pathlib import Path

import pytest
import torch
from torch import nn
from zoo_windows import CosineWindows, RelativeHeads, Windows

from compressor.architectures.relative_attention import SlimRelativeAttention
from compressor.architectures.window_attention import SlimWindowAttention
from compressor.checkpoints.structure import Edit, difference, replay
from compressor.errors import CheckpointError
from compressor.surgery.fused_attention import slim_attention

KINDS = {"v1": Windows, "v2": CosineWindows}


def attention(kind="v1", **options):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return KINDS[kind](12, 3, **options).double().eval()


def pictures(height, width):
    return torch.randn(2, height, width, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


@torch.no_grad()
@pytest.mark.parametrize("size", [(4, 6), (5, 7), (2, 3), (2, 9), (1, 1)])
@pytest.mark.parametrize("shift", [(0, 0), (1, 1), (0, 2)])
@pytest.mark.parametrize("kind", KINDS)
def test_it_is_equal_at_every_size_and_shift(kind, shift, size):
    dense, x = attention(kind, shift=shift), pictures(*size)
    torch.testing.assert_close(SlimWindowAttention.equal(dense)(x), dense(x), rtol=0, atol=1e-13)


@torch.no_grad()
@pytest.mark.parametrize("kind", KINDS)
def test_it_is_equal_without_biases(kind):
    dense, x = attention(kind, bias=False), pictures(4, 6)
    torch.testing.assert_close(SlimWindowAttention.equal(dense)(x), dense(x), rtol=0, atol=1e-13)


@pytest.mark.parametrize("kind", KINDS)
def test_it_holds_the_tensors_of_the_other_under_their_names(kind):
    dense = attention(kind)
    ours = slim_attention(dense)
    assert ours is not None
    assert ours.state_dict().keys() == dense.state_dict().keys()
    assert dict(ours.named_parameters()) == dict(dense.named_parameters())


@torch.no_grad()
def test_relative_attention_is_equal_and_shares_its_tensors():
    torch.manual_seed(0)
    dense, x = RelativeHeads(12, 4).double().eval(), torch.randn(2, 3, 4, 12, dtype=torch.float64)
    ours = slim_attention(dense)
    assert isinstance(ours, SlimRelativeAttention)
    torch.testing.assert_close(ours(x), dense(x), rtol=0, atol=1e-13)
    assert dict(ours.named_parameters()) == dict(dense.named_parameters())


class Louder(Windows):
    def forward(self, x):
        return 2 * super().forward(x)


class LouderHeads(RelativeHeads):
    def forward(self, x):
        return 2 * super().forward(x)


class Unshifted(Windows):
    def forward(self, x):
        self.shift_size = [0, 0]
        return super().forward(x)


@pytest.mark.parametrize("other", [Louder(12, 3), Unshifted(12, 3), LouderHeads(12, 4), nn.Linear(4, 4)])
def test_what_only_looks_like_it_stays(other):
    assert slim_attention(other) is None


@pytest.mark.parametrize("kind", KINDS)
def test_fewer_heads_are_recorded_and_made_again(kind):
    dense = nn.Sequential(attention(kind))
    ours = SlimWindowAttention(attention(kind), num_heads=2)
    ours.qkv, ours.proj = nn.Linear(10, 16).double(), nn.Linear(4, 10).double()
    if kind == "v2":
        ours.cpb_mlp[2] = nn.Linear(10, 2, bias=False).double()
    edits = difference(dense, small := nn.Sequential(ours).eval())
    assert (edits[0].kind, edits[0].sizes) == ("window attention", {"num_heads": 2})
    replay(dense, tuple(Edit.from_plain(edit.to_plain()) for edit in edits))
    dense.load_state_dict(small.state_dict())
    x = pictures(4, 6)[..., :10]
    assert dense[0].scale == 0.5
    assert torch.equal(dense(x), small(x))


def test_fewer_heads_with_relative_positions_are_recorded_and_made_again():
    dense, ours = nn.Sequential(RelativeHeads(12, 4)), SlimRelativeAttention(RelativeHeads(12, 4), num_heads=2)
    ours.to_qkv, ours.merge = nn.Linear(10, 16), nn.Linear(4, 10)
    edits = difference(dense, small := nn.Sequential(ours).eval())
    assert (edits[0].kind, edits[0].sizes) == ("relative attention", {"num_heads": 2})
    replay(dense, tuple(Edit.from_plain(edit.to_plain()) for edit in edits))
    dense.load_state_dict(small.state_dict())
    x = torch.randn(2, 3, 4, 10)
    assert torch.equal(dense(x), small(x))


@pytest.mark.parametrize("sizes", [{}, {"num_heads": 0}, {"num_heads": 4}, {"num_heads": 1 << 40}, {"channels": 3}])
def test_impossible_heads_are_refused(sizes):
    with pytest.raises(CheckpointError, match="does not say what the window attention needs"):
        replay(nn.Sequential(attention()), (Edit("0", sizes, {}, "window attention"),))


@pytest.mark.parametrize("kind", [SlimWindowAttention, SlimRelativeAttention])
def test_its_file_can_be_taken_along(kind):
    source = ast.parse(Path(inspect.getfile(kind)).read_text())
    imported = [node.module for node in ast.walk(source) if isinstance(node, ast.ImportFrom)]
    imported += [name.name for node in ast.walk(source) if isinstance(node, ast.Import) for name in node.names]
    assert {name.partition(".")[0] for name in imported} == {"__future__", "math", "typing", "torch"} - (
        {"math"} if kind is SlimRelativeAttention else set()
    )


@pytest.mark.parametrize("kind", ["window attention", "relative attention"])
def test_it_takes_the_place_of_such_attention_alone(kind):
    with pytest.raises(CheckpointError, match=f"does not say what the {kind} needs"):
        replay(nn.Sequential(nn.Linear(2, 2)), (Edit("0", {"num_heads": 1}, {}, kind),))
