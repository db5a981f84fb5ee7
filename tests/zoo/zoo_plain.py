"""Plain networks and their activations."""

from __future__ import annotations

from torch import nn
from zoo_parts import Pattern, conv, image, signals, tail


def chain():
    return nn.Sequential(conv(3, 8), nn.BatchNorm2d(8), nn.ReLU(), conv(8, 6), nn.ReLU(), tail(6))


def mlp():
    return nn.Sequential(nn.Flatten(), nn.Linear(192, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 4))


def flattened():
    return nn.Sequential(conv(3, 6), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(6 * 16, 4))


def signal():
    return nn.Sequential(nn.Conv1d(3, 8, 3), nn.BatchNorm1d(8), nn.ReLU(), nn.Conv1d(8, 4, 3))


def volume():
    return nn.Sequential(nn.Conv3d(3, 8, 3), nn.BatchNorm3d(8), nn.ReLU(), nn.Conv3d(8, 4, 1))


def gelu():
    return nn.Sequential(conv(3, 8), nn.GELU(), conv(8, 6), nn.SiLU(), conv(6, 6), nn.Hardswish(), tail(6))


def prelu():
    return nn.Sequential(conv(3, 8), nn.BatchNorm2d(8), nn.PReLU(8), conv(8, 6), nn.PReLU(), tail(6))


def sigmoid():
    """Zero channels send 0.5, which goes into the next bias."""
    return nn.Sequential(conv(3, 8), nn.Sigmoid(), nn.Conv2d(8, 6, 1, bias=False), nn.ReLU(), tail(6))


def softplus():
    return nn.Sequential(nn.Flatten(), nn.Linear(192, 8), nn.Softplus(), nn.Linear(8, 4))


def sigmoid_before_padding():
    return nn.Sequential(conv(3, 8), nn.Sigmoid(), conv(8, 6), nn.ReLU(), tail(6))


PATTERNS = (
    Pattern(chain, {"0": 8, "3": 6}),
    Pattern(mlp, {"1": 8}),
    Pattern(flattened, {"0": 6}),
    Pattern(signal, {"0": 8}, inputs=signals),
    Pattern(volume, {"0": 8}, inputs=lambda: image()[..., None].expand(-1, -1, -1, -1, 4).contiguous()),
    Pattern(gelu, {"0": 8, "2": 6, "4": 6}),
    Pattern(prelu, {"0": 8, "3": 6}),
    Pattern(sigmoid, {"0": 8, "2": 6}),
    Pattern(softplus, {"1": 8}),
    Pattern(sigmoid_before_padding, {"2": 6}, {"0": r"f\(0\) != 0 sends 0.5 to 2, where zero padding makes it uneven"}),
)  # fmt: skip
