"""Every registered penalty, at its defaults and with other options; a new entry of a registry is tested unasked."""

from __future__ import annotations

from dataclasses import fields
from math import inf
from typing import Any

import pytest
import torch

from compressor.penalties import GROUP_PENALTIES, PENALTIES, group_penalty, penalty

# Options beside the defaults.
OTHERS: dict[str, list[dict[str, Any]]] = {
    "l1-l2": [{"alpha": 0.0}, {"alpha": 0.3}, {"alpha": 0.9}, {"over": "channel"}, {"over": "channel", "alpha": 0.6}],
    "lp": [{"p": 2 / 3}],
    "mcp": [{"a": 1.1}, {"a": 20.0}],
    "scad": [{"a": 2.1}, {"a": 2.5}, {"a": 20.0}],
    "transformed-l1": [{"a": 0.01}, {"a": 0.1}, {"a": 3.0}, {"a": 100.0}],
}
STEPS = [0.0, 1e-4, 0.1, 0.7, 1.0, 2.5, 8.0]


def with_options(build, name):
    return [build(name, **options) for options in [{}, *OTHERS.get(name, [])]]


ELEMENTWISE = [built for name in PENALTIES for built in with_options(penalty, name)]
ROWWISE = [b for name in GROUP_PENALTIES if name != "cges" for b in with_options(group_penalty, name)]


def bound_of(built):
    return getattr(built, "phi", built).convex_up_to


def steps_of(built):
    """Steps of all sizes, and on both sides of the bound up to which the problem is convex."""
    bound = bound_of(built)
    return STEPS + ([bound * factor for factor in (0.5, 0.98, 1.0, 1.02, 2.0)] if 0 < bound < inf else [])


def problems(penalties):
    return [pytest.param((b, step), id=f"{label(b)}-{step:.4g}") for b in penalties for step in steps_of(b)]


def label(built):
    inner = getattr(built, "phi", built)
    options = ",".join(f"{part.name}={getattr(inner, part.name):.3}" for part in fields(inner))
    return f"{'group ' * (inner is not built)}{type(inner).__name__}({options})"


@pytest.fixture(params=ELEMENTWISE + ROWWISE, ids=label)
def built(request):
    """Every penalty with a prox."""
    return request.param


@pytest.fixture
def steps(built):
    return steps_of(built)


@pytest.fixture(params=ELEMENTWISE, ids=label)
def elementwise(request):
    return request.param


@pytest.fixture(params=[b for b in ELEMENTWISE if b.separable], ids=label)
def separable(request):
    return request.param


@pytest.fixture(params=ROWWISE, ids=label)
def rowwise(request):
    return request.param


@pytest.fixture(params=problems(b for b in ELEMENTWISE if b.separable))
def line_problem(request):
    """A separable penalty and a step."""
    return request.param


@pytest.fixture(params=problems([b for b in ELEMENTWISE if not b.separable] + ROWWISE))
def plane_problem(request):
    """A penalty that couples the entries of a row, and a step."""
    return request.param


@pytest.fixture(params=problems(ELEMENTWISE + ROWWISE))
def problem(request):
    return request.param


@pytest.fixture
def rows():
    """Rows of all kinds, in float64: random, tied, sparse, zero."""
    random = 2 * torch.randn(40, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    special = [
        [0, 0, 0],
        [1, 1, 1],
        [-2, 2, -2],
        [0, -3, 0],
        [0.15, 0, -0.15],
        [1, 0.999, 0],
        [7, -7, 0.001],
        [0, 0, 0],
    ]
    return torch.cat([random, torch.tensor(special, dtype=torch.float64)])
