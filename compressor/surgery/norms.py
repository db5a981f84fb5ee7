"""Which norms over channels ours can stand for: they are recognised by what they do, whoever wrote them."""

from __future__ import annotations

import copy
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from compressor.architectures.norms import SlimLayerNorm, SlimNorm, SlimRMSNorm
from compressor.equivalence import FLOAT32_LIMIT, relative_difference
from compressor.layer_kinds import MAKERS

# Channels last; of images and of sequences with channels first.
TRAILING = (0, 2, 1)
# Inputs so small that what is added to the variance counts, and others.
SCALES = (1.0, 1e-4)


@torch.no_grad()
def slim_norm(norm: nn.Module) -> SlimNorm | None:
    """Ours with all channels of ``norm``, whose tensors it shares, where that computes the same; None elsewhere."""
    if not _has_vectors_alone(norm):
        return None
    width = len(norm.weight)  # type: ignore[arg-type]
    twin = _randomized(norm)
    for trailing in TRAILING:
        pairs = list(_tried(twin, width, trailing))
        for kind in (SlimLayerNorm, SlimRMSNorm) if pairs else ():
            ours = kind(twin, channels=width, full_width=width, trailing=trailing)
            # Some compute in float32 whatever comes in.
            if all(relative_difference(out, ours(x)) <= FLOAT32_LIMIT for x, out in pairs):
                return kind(norm, channels=width, full_width=width, trailing=trailing)
    return None


def _has_vectors_alone(module: nn.Module) -> bool:
    """Whether all that it holds is a weight, and perhaps a bias, for each channel."""
    own = dict(module.named_parameters())
    weight, holds_more = own.get("weight"), bool([*module.children(), *module.buffers()])
    if weight is None or holds_more or isinstance(module, (SlimNorm, *MAKERS)):
        return False
    vectors = weight.ndim == 1 and len(weight) > 1 and all(other.shape == weight.shape for other in own.values())
    return own.keys() <= {"weight", "bias"} and vectors


def _randomized(norm: nn.Module) -> nn.Module:
    """A copy in float64 whose weights are not ones and whose biases not zeros."""
    twin = copy.deepcopy(norm).cpu().double().eval()
    generator = torch.Generator().manual_seed(0)
    for parameter in twin.parameters():
        parameter.copy_(torch.rand(parameter.shape, generator=generator, dtype=torch.float64) + 0.5)
    return twin


def _tried(norm: nn.Module, width: int, trailing: int) -> Iterator[tuple[Tensor, Tensor]]:
    """What came in and what came out; nothing when it takes no tensors of that shape."""
    generator = torch.Generator().manual_seed(0)
    # No other dimension is as long as the channels'.
    sizes = [size for size in (2, 3, 4, 5) if size != width]
    shape = (sizes[0], sizes[1], sizes[2], width) if not trailing else (sizes[0], width, *sizes[1 : 1 + trailing])
    for scale in SCALES:
        x = scale * (torch.randn(shape, generator=generator, dtype=torch.float64) + 0.5)
        try:
            out = norm(x)
        except Exception:  # whatever its code raises on a shape that it does not expect
            return
        if isinstance(out, Tensor) and out.dtype == x.dtype:
            yield x, out
