"""A network for the comparison with other tools that all of them can prune: its shortcuts have weights.

compress fine-tune --arch benchmarks/peer_networks.py:resnet14 --data folder:cifar10-jpg-train.zip ...
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

WIDTHS = 16, 32, 64


class Block(nn.Module):
    """Two 3x3 convolutions beside a shortcut, which is a 1x1 convolution where the shape changes."""

    def __init__(self, into: int, channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(into, channels, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.shortcut = nn.Sequential()
        if stride != 1 or into != channels:
            self.shortcut = nn.Sequential(nn.Conv2d(into, channels, 1, stride, bias=False), nn.BatchNorm2d(channels))

    def forward(self, x: Tensor) -> Tensor:
        """(batch, into, h, w) -> (batch, channels, h / stride, w / stride)."""
        out = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(out + self.shortcut(x))


class ResNet14(nn.Module):
    """Three stages of two blocks for 32x32 images, shortcuts of He et al. (2016), option B."""

    def __init__(self, num_classes: int = 10) -> None:
        super().__init__()
        self.input_shape = (3, 32, 32)
        self.conv1 = nn.Conv2d(3, WIDTHS[0], 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(WIDTHS[0])
        blocks, into = [], WIDTHS[0]
        for stage, width in enumerate(WIDTHS):
            blocks += [Block(into, width, 1 + (stage > 0)), Block(width, width, 1)]
            into = width
        self.blocks = nn.Sequential(*blocks)
        self.linear = nn.Linear(into, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (batch, num_classes) of images (batch, 3, 32, 32)."""
        x = self.blocks(F.relu(self.bn1(self.conv1(x))))
        logits: Tensor = self.linear(x.mean((2, 3)))
        return logits


def resnet14(num_classes: int = 10) -> ResNet14:
    """The network with random weights."""
    return ResNet14(num_classes)
