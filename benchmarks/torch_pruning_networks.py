"""Small networks with the structures that Torch-Pruning's own tests are about."""

# ruff: noqa: D102 (what forward does, the class says)

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def pointwise(*widths: int) -> nn.Sequential:
    """1x1 convolutions of these widths with BatchNorm, GELU between them."""
    layers: list[nn.Module] = []
    for before, after in pairwise(widths):
        layers += [nn.GELU()] if layers else []
        layers += [nn.Conv2d(before, after, 1), nn.BatchNorm2d(after)]
    return nn.Sequential(*layers)


class WideAndDeep(nn.Module):
    """A linear path and a perceptron, joined on the last axis."""

    def __init__(self) -> None:
        super().__init__()
        self.deep = nn.Sequential(
            nn.Linear(32, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Dropout(0.2),
            nn.Linear(32, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.2), nn.Linear(16, 1),
        )  # fmt: skip
        self.wide = nn.Linear(32, 3)
        self.head = nn.Linear(4, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = x.reshape(len(x), -1)
        return torch.sigmoid(self.head(torch.concat([self.wide(x), self.deep(x)], dim=-1)))


class Cascade(nn.Module):
    """Concatenations of concatenations, of paths of different widths."""

    def __init__(self, width: int = 10) -> None:
        super().__init__()
        paths = ((1, 1), (2, 2), (3,), (6,))
        self.paths = nn.ModuleList(pointwise(width, *(factor * width for factor in path)) for path in paths)
        self.head = nn.Conv2d(12 * width, 10, 1)

    def forward(self, x: Tensor) -> Tensor:
        joined = self.paths[0](x)
        for path in self.paths[1:]:
            joined = torch.cat([joined, path(x)], dim=1)
        return self.head(joined)


class SplitAndJoin(nn.Module):
    """A part of one path joins another, the rest goes around it; the sizes are those of the layers."""

    def __init__(self, width: int = 10) -> None:
        super().__init__()
        self.first, self.second = pointwise(width, width, 2 * width), pointwise(width, width, width)
        self.joint = pointwise(2 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        first, second = self.first(x), self.second(x)
        taken = self.joint[0].in_channels - self.second[-1].num_features
        left, right = torch.split(first, (taken, self.first[-1].num_features - taken), 1)
        return self.joint(torch.cat([left, second], dim=1)) + right


class ThreeWays(nn.Module):
    """Channels split three ways, two of which pass the same layer."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.trunk = pointwise(width, width, 4 * width)
        self.twice, self.once = pointwise(width, width), pointwise(2 * width, width)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        sizes = [self.twice[0].in_channels, self.twice[0].in_channels, self.once[0].in_channels]
        one, two, three = torch.split(self.trunk(x), sizes, dim=1)
        return self.twice(one), self.twice(two), self.once(three)


class Generator(nn.Module):
    """A linear layer whose outputs become images, which transposed convolutions enlarge."""

    def __init__(self) -> None:
        super().__init__()
        self.seed = nn.Linear(32, 512)
        self.larger = nn.ConvTranspose2d(32, 16, 4, stride=2, padding=1)
        self.largest = nn.ConvTranspose2d(16, 8, 4, stride=2, padding=1)
        self.head = nn.Linear(8 * 16 * 16, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.seed(x)).view(-1, self.larger.in_channels, 4, 4)
        x = F.relu(self.largest(F.relu(self.larger(x))))
        return self.head(torch.flatten(x, 1))


class Stacked(nn.Module):
    """Two paths joined and parted again along the height."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.one, self.two = pointwise(width, width, width), pointwise(width, width, width)
        self.shared, self.head = nn.Conv2d(width, width, 1), nn.Conv2d(width, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        one, two = self.one(x), self.two(x)
        upper, _ = torch.split(self.shared(torch.cat([one, two], dim=2)), [one.shape[2], two.shape[2]], dim=2)
        return self.head(upper)


class TwoInputs(nn.Module):
    """Two inputs and three outputs, two of them read on; ``hidden`` adds a layer before each."""

    def __init__(self, hidden: bool) -> None:
        super().__init__()
        sizes = ((64, 32, 24), (48, 32, 16)) if hidden else ((64, 24), (48, 16))
        self.left, self.right = (self._path(size) for size in sizes)
        self.joint = nn.Linear(40, 20)

    def _path(self, sizes: Sequence[int]) -> nn.Sequential:
        return nn.Sequential(*(nn.Linear(*pair) for pair in pairwise(sizes)))

    def forward(self, left: Tensor, right: Tensor) -> tuple[Tensor, ...]:
        left, right = F.relu(self.left(left)), F.relu(self.right(right))
        return left, right, F.relu(self.joint(torch.cat([left, right], dim=1)))


class Normalised(nn.Module):
    """A layer of the user's own: unit length, scale and shift, then a linear layer of the same width."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width
        self.scale, self.shift = nn.Parameter(torch.ones(width)), nn.Parameter(torch.zeros(width))
        self.linear = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x / x.pow(2).sum(1, keepdim=True).sqrt() * self.scale + self.shift)


class Customised(nn.Module):
    """Linear layers around a layer of the user's own; ``unused`` adds a parameter that nothing reads."""

    def __init__(self, unused: bool) -> None:
        super().__init__()
        self.first, self.own, self.head = nn.Linear(32, 64), Normalised(64), nn.Linear(64, 10)
        if unused:
            self.spare = nn.Parameter(torch.randn(10))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.own(F.relu(self.first(x))))


class Skip(nn.Module):
    """A linear layer with a shortcut around it."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.head = nn.Linear(32, 64), nn.Linear(64, 64), nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.first(x))
        return self.head(F.relu(self.second(x)) + x)


class Chain(nn.Module):
    """Three convolutions with BatchNorm; the second one transposed or not."""

    def __init__(self, *, last: int, transposed: bool = False) -> None:
        super().__init__()
        enlarge = nn.ConvTranspose2d if transposed else nn.Conv2d
        layers = (nn.Conv2d(3, 16, 3, padding=1), enlarge(16, 64, 2, stride=2), nn.Conv2d(64, last, 3, padding=1))
        self.layers = nn.ModuleList(layers)
        self.norms = nn.ModuleList(nn.BatchNorm2d(layer.out_channels) for layer in layers)

    def forward(self, x: Tensor) -> Tensor:
        for layer, norm in zip(self.layers, self.norms, strict=True):
            x = F.relu(norm(layer(x)))
        return x


class Scaled(nn.Module):
    """ConvNeXt's block: depthwise convolution, LayerNorm, two linear layers, a bare parameter as scale, a shortcut."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.stem, self.depthwise = nn.Conv2d(3, width, 3), nn.Conv2d(width, width, 3, padding=1, groups=width)
        self.norm = nn.LayerNorm(width)
        self.inner, self.outer = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.scale = nn.Parameter(torch.ones(width, 1, 1))
        self.head = nn.Linear(width, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        inner = self.outer(F.gelu(self.inner(self.norm(self.depthwise(x).permute(0, 2, 3, 1)))))
        return self.head((x + self.scale * inner.permute(0, 3, 1, 2)).mean((2, 3)))


def lenet() -> nn.Module:
    """LeNet-5, with a ReLU behind its last layer."""
    return nn.Sequential(
        nn.Conv2d(1, 6, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(256, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10), nn.ReLU(),
    )  # fmt: skip


def grouped() -> nn.Module:
    """Convolutions in groups and depthwise ones."""
    return nn.Sequential(
        nn.Conv2d(3, 32, 3), nn.BatchNorm2d(32), nn.ReLU(), nn.Conv2d(32, 32, 3, groups=4), nn.BatchNorm2d(32),
        nn.ReLU(), nn.Conv2d(32, 32, 3, groups=32), nn.ReLU(), nn.Conv2d(32, 16, 1, groups=2), nn.Flatten(),
        nn.Linear(16 * 4 * 4, 10),
    )  # fmt: skip
