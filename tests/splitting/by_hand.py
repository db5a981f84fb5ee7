"""The papers' formulas as slow, readable loops; nothing here is shared with the package."""

from __future__ import annotations

from math import acos, cos, pi, sqrt

import torch
from torch import nn
from torch.nn import functional as F

IMAGE = torch.zeros(2, 3, 8, 8, dtype=torch.float64)
STEPS, EPOCH_STEPS, SAMPLES = 7, 3, 10

OPTIMIZERS = {
    "nesterov": lambda parts: torch.optim.SGD(parts, lr=0.1, momentum=0.9, nesterov=True),
    "adam": lambda parts: torch.optim.Adam(parts, lr=0.01),
}


def network():
    """Two convolutions and a linear layer, in float64."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU(),
            nn.Conv2d(8, 6, 3, padding=1), nn.ReLU(),
            nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(24, 4),
        ).double()  # fmt: skip


def optimizer_for(model, kind):
    """Two parameter groups with different learning rates."""
    *first, last = model
    optimizer = OPTIMIZERS[kind](
        [{"params": [p for module in first for p in module.parameters()]}, {"params": list(last.parameters())}]
    )
    optimizer.param_groups[1]["lr"] *= 0.3
    return optimizer


def backward(model, optimizer, step):
    generator = torch.Generator().manual_seed(100 + step)
    images = torch.randn(16, 3, 8, 8, generator=generator, dtype=torch.float64)
    optimizer.zero_grad()
    F.cross_entropy(model(images), torch.randint(4, (16,), generator=generator)).backward()


def weights_of(model):
    return [module.weight for module in model if isinstance(module, nn.Conv2d | nn.Linear)]


def rates_of(optimizer):
    return {p: group["lr"] for group in optimizer.param_groups for p in group["params"]}


# Section 1.3: one number, tau = lambda / beta. SCAD and MCP have their knots at multiples of tau.


def l1(x, tau):
    return sign(x) * max(abs(x) - tau, 0.0)


def l0(x, tau):
    return x if abs(x) > sqrt(2 * tau) else 0.0


def transformed_l1(x, tau, a=1.0):
    critical = tau <= a**2 / (2 * (a + 1))
    threshold = tau * (a + 1) / a if critical else sqrt(2 * tau * (a + 1)) - a / 2
    if abs(x) <= threshold:
        return 0.0
    phi = acos(1 - 27 * tau * a * (a + 1) / (2 * (a + abs(x)) ** 3))
    return sign(x) * (2 / 3 * (a + abs(x)) * cos(phi / 3) - 2 * a / 3 + abs(x) / 3)


def scad(x, tau, a=3.7):
    if abs(x) <= 2 * tau:
        return l1(x, tau)
    if abs(x) <= a * tau:
        return ((a - 1) * x - sign(x) * a * tau) / (a - 2)
    return x


def mcp(x, tau, a=3.0):
    if abs(x) <= tau:
        return 0.0
    if abs(x) <= a * tau:
        return sign(x) * (abs(x) - tau) / (1 - 1 / a)
    return x


# The same two with knots that stay where they are; the steps of the tests lie below the convexity bounds.


def fixed_scad(x, step, a=3.7):
    if abs(x) <= 1 + step:
        return l1(x, step)
    if abs(x) <= a:
        return ((a - 1) * x - sign(x) * a * step) / (a - 1 - step)
    return x


def fixed_mcp(x, step, a=3.0):
    if abs(x) <= step:
        return 0.0
    if abs(x) <= a:
        return sign(x) * (abs(x) - step) / (1 - step / a)
    return x


def half(x, step):
    """l_p with p = 1/2, Xu et al. 2012, theorem 1, with their lambda = 2 step."""
    if abs(x) <= 1.5 * step ** (2 / 3):
        return 0.0
    phi = acos(2 * step / 8 * (abs(x) / 3) ** -1.5)
    return 2 / 3 * x * (1 + cos(2 * pi / 3 - 2 * phi / 3))


def sign(x):
    return (x > 0) - (x < 0)


def of_entries(scalar):
    """A scalar prox as one of tensors."""
    return lambda w, step: torch.tensor([scalar(x, step) for x in w.flatten().tolist()], dtype=w.dtype).view_as(w)


def l1_minus_l2(w, step, alpha=1.0):
    """Lou and Yan, over the whole tensor; in the tests some entry always exceeds the step."""
    z = of_entries(l1)(w, step)
    norm = sqrt(sum(x**2 for x in z.flatten().tolist()))
    return z * (norm + alpha * step) / norm


PAPERS = {
    "l0": of_entries(l0),
    "l1": of_entries(l1),
    "l1-l2": l1_minus_l2,
    "lp": of_entries(half),
    "mcp": of_entries(mcp),
    "scad": of_entries(scad),
    "transformed-l1": of_entries(transformed_l1),
}
FIXED = PAPERS | {"mcp": of_entries(fixed_mcp), "scad": of_entries(fixed_scad)}


def neurons(weight):
    """The groups of Bui et al.: filters of a convolution, input units of a linear layer."""
    if weight.ndim == 4:
        return [weight[i] for i in range(len(weight))]
    return [weight[:, j] for j in range(weight.shape[1])]


def input_channels(weight):
    """The groups of RGSM."""
    return [weight[:, j] for j in range(weight.shape[1])]


def norm(row):
    return sqrt(sum(x**2 for x in row.flatten().tolist()))
