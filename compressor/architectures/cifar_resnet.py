"""ResNets for 32x32 images with parameter-free shortcuts (He et al., 2016, section 4.2, option A).

Module names follow the commonest PyTorch checkpoints of these networks: ``conv1, bn1,
layer1..3.{i}.{conv1, bn1, conv2, bn2}, linear``.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F


class PaddedShortcut(nn.Module):
    """Every ``step``-th pixel, and zero channels before and after: changes the shape without parameters."""

    def __init__(self, before: int, after: int, step: int = 2) -> None:
        super().__init__()
        self.before = before
        self.after = after
        self.step = step

    def forward(self, x: Tensor) -> Tensor:
        """(batch, c, h, w) -> (batch, before + c + after, ceil(h / step), ceil(w / step))."""
        return F.pad(x[:, :, :: self.step, :: self.step], (0, 0, 0, 0, self.before, self.after))


class BasicBlock(nn.Module):
    """Two 3x3 convolutions with batch normalisation, beside a shortcut."""

    def __init__(self, in_channels: int, channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, channels, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        missing = channels - in_channels
        same = stride == 1 and missing == 0
        self.shortcut = nn.Identity() if same else PaddedShortcut(missing // 2, missing - missing // 2)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, in_channels, h, w) -> (batch, channels, h / stride, w / stride)."""
        out = F.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        return F.relu(out + self.shortcut(x))


class CifarResNet(nn.Module):
    """6n + 2 layers in three stages of n blocks, 16, 32 and 64 channels wide."""

    def __init__(self, blocks: int, num_classes: int = 10, in_channels: int = 3) -> None:
        super().__init__()
        self.input_shape = (in_channels, 32, 32)
        self.conv1 = nn.Conv2d(in_channels, 16, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.layer1 = _stage(16, 16, blocks, stride=1)
        self.layer2 = _stage(16, 32, blocks, stride=2)
        self.layer3 = _stage(32, 64, blocks, stride=2)
        self.linear = nn.Linear(64, num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(module.weight)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (batch, num_classes) of images (batch, in_channels, 32, 32)."""
        x = F.relu(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        logits: Tensor = self.linear(x.mean((2, 3)))
        return logits


def _stage(in_channels: int, channels: int, blocks: int, stride: int) -> nn.Sequential:
    first = BasicBlock(in_channels, channels, stride)
    return nn.Sequential(first, *(BasicBlock(channels, channels, 1) for _ in range(blocks - 1)))


def resnet20(num_classes: int = 10, in_channels: int = 3) -> CifarResNet:
    """ResNet-20 for 32x32 images."""
    return CifarResNet(3, num_classes, in_channels)


def resnet32(num_classes: int = 10, in_channels: int = 3) -> CifarResNet:
    """ResNet-32 for 32x32 images."""
    return CifarResNet(5, num_classes, in_channels)


def resnet44(num_classes: int = 10, in_channels: int = 3) -> CifarResNet:
    """ResNet-44 for 32x32 images."""
    return CifarResNet(7, num_classes, in_channels)


def resnet56(num_classes: int = 10, in_channels: int = 3) -> CifarResNet:
    """ResNet-56 for 32x32 images."""
    return CifarResNet(9, num_classes, in_channels)


def resnet110(num_classes: int = 10, in_channels: int = 3) -> CifarResNet:
    """ResNet-110 for 32x32 images."""
    return CifarResNet(18, num_classes, in_channels)
