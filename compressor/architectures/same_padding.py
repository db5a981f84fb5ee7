"""A convolution that pads its input as TensorFlow does: by what its size asks for, more behind than before."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F


class SamePaddedConv2d(nn.Conv2d):
    """(n, in_channels, h, w) -> (n, out_channels, ceil(h / stride), ceil(w / stride))."""

    def forward(self, input: Tensor) -> Tensor:
        """Pad with zeros, then convolve without padding."""
        sizes = zip(input.shape[-2:], self.kernel_size, self.stride, self.dilation, strict=True)
        missing = [
            max((-(-size // step) - 1) * step + (reach - 1) * wide + 1 - size, 0) for size, reach, step, wide in sizes
        ]
        pads = [pad for lost in reversed(missing) for pad in (lost // 2, lost - lost // 2)]
        padded = F.pad(input, pads)
        return F.conv2d(padded, self.weight, self.bias, self.stride, 0, self.dilation, self.groups)
