"""Norms over channels of which some are gone: they go on dividing by the old width, as if those were there and zero."""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor, nn
from torch.nn import functional as F

# What norms call the number that they add to the variance.
EPSILONS = ("eps", "variance_epsilon", "epsilon")


class SlimNorm(nn.Module):
    """A norm over ``channels`` of once ``full_width`` channels, the others zero, in the place of ``like``.

    Channels lie on the last axis but for ``trailing`` others. Tensors of the same shape as those of ``like`` are
    shared. `TypeError` when ``like`` has no weights or the numbers have no meaning.
    """

    def __init__(self, like: nn.Module, *, channels: int, full_width: int, trailing: int) -> None:
        super().__init__()
        weight, bias = getattr(like, "weight", None), getattr(like, "bias", None)
        if not (isinstance(weight, nn.Parameter) and 0 < channels <= full_width and 0 <= trailing <= 3):
            raise TypeError(f"{type(like).__name__} is no norm of {channels} of {full_width} channels")
        self.full_width = full_width
        self.trailing = trailing
        self.eps: float | None = epsilon(like)
        self.weight = _of(weight, channels)
        self.bias = _of(bias, channels) if isinstance(bias, nn.Parameter) else None
        self.train(like.training)

    @property
    def channels(self) -> int:
        """How many channels are left."""
        return len(self.weight)

    def forward(self, x: Tensor) -> Tensor:
        """(..., channels, *trailing), channels that are gone left out -> the same shape."""
        if x.is_nested:
            # Of padded tokens ``nn.TransformerEncoder`` makes sequences of several lengths.
            return torch.nested.as_nested_tensor([self._normed(one) for one in x.unbind()])
        # Squares of half precision overflow.
        wide = x.float() if x.dtype in {torch.float16, torch.bfloat16} else x
        return self._normed(wide).to(x.dtype)

    @abstractmethod
    def _normed(self, x: Tensor) -> Tensor: ...

    def _beside(self, vector: Tensor) -> Tensor:
        """A vector along the channels."""
        return vector.view(-1, *(1,) * self.trailing) if self.trailing else vector


class SlimLayerNorm(SlimNorm):
    """(x - mean) / sqrt(variance + eps) * weight + bias, mean and variance of all ``full_width`` channels."""

    def _normed(self, x: Tensor) -> Tensor:
        if torch.onnx.is_in_onnx_export() and not self.trailing:
            return self._padded(x)
        along, kept = -1 - self.trailing, self.channels / self.full_width
        # Means over the channels that are left take less time than sums; what is missing goes into the constants.
        mean = x.mean(along, keepdim=True)
        centred = x - mean * kept
        # Each channel that is gone lies as far from the mean as zero does.
        variance = (centred * centred).mean(along, keepdim=True) + kept * (1 - kept) * mean * mean
        scale = torch.rsqrt(variance + (self.eps or 0.0) / kept)
        scaled = centred * scale * self._beside(self.weight * kept**-0.5)
        return scaled if self.bias is None else scaled + self._beside(self.bias)

    def _padded(self, x: Tensor) -> Tensor:
        """The same by the one operation that runtimes have for it, with zeros in the place of the channels gone."""
        gone = (0, self.full_width - self.channels)
        bias = None if self.bias is None else F.pad(self.bias, gone)
        normed = F.layer_norm(F.pad(x, gone), (self.full_width,), F.pad(self.weight, gone), bias, self.eps or 0.0)
        return normed[..., : self.channels]


class SlimRMSNorm(SlimNorm):
    """x / sqrt(mean(x^2) + eps) * weight (+ bias), with the mean over all ``full_width`` channels.

    Over n of N channels it is the norm of the n with sqrt(N / n) times the weight and N / n times eps, which runtimes
    know as one operation.
    """

    def _normed(self, x: Tensor) -> Tensor:
        grown = self.full_width / self.channels
        eps = torch.finfo(x.dtype).eps if self.eps is None else self.eps
        squares = x.pow(2).mean(-1 - self.trailing, keepdim=True)
        normed = x / torch.sqrt(squares + eps * grown) * self._beside(self.weight * grown**0.5)
        return normed if self.bias is None else normed + self._beside(self.bias)


class SlimResponseNorm(SlimNorm):
    """x + weight * x * n + bias, n the norm of a channel over all places by the mean of those of all ``full_width``.

    ConvNeXt-v2's (Woo et al. 2023, algorithm 1), of images: (n, h, w, channels), or (n, channels, h, w).
    """

    def _normed(self, x: Tensor) -> Tensor:
        along = -1 - self.trailing
        norms = torch.linalg.vector_norm(x, dim=(2, 3) if self.trailing else (1, 2), keepdim=True)
        mean = norms.sum(along, keepdim=True) / self.full_width
        scaled: Tensor = x + x * (norms / (mean + (self.eps or 0.0))) * self._beside(self.weight)
        return scaled if self.bias is None else scaled + self._beside(self.bias)


def epsilon(norm: nn.Module) -> float | None:
    """What a norm adds to the variance; None where it says nothing or that torch shall choose."""
    found = next((getattr(norm, name) for name in EPSILONS if hasattr(norm, name)), None)
    return float(found) if isinstance(found, int | float) else None


def _of(old: nn.Parameter, channels: int) -> nn.Parameter:
    """The same parameter where it has that length, else an uninitialised one."""
    return old if old.shape == (channels,) else nn.Parameter(old.new_empty(channels), old.requires_grad)
