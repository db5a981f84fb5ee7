"""What a weight costs: the elementwise penalties r(v), the group penalties on whole channels, and their exact proxes.

Adding one is one file with a class and one line in `PENALTIES` (and one in `GROUP_PENALTIES`, when the norm of
a channel can carry it); options, listing and the brute-force test of the prox follow by themselves.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import TYPE_CHECKING, Any, get_type_hints

from compressor.errors import UsageError
from compressor.penalties.kinds import GroupPenalty, Penalty, Subgradient
from compressor.registry import resolve

__all__ = [
    "GROUP_PENALTIES",
    "PENALTIES",
    "GroupPenalty",
    "Penalty",
    "Subgradient",
    "group_penalty",
    "penalty",
    "step_of",
]

if TYPE_CHECKING:
    from compressor.penalties.cges import Cges
    from compressor.penalties.group import NormPenalty

PENALTIES = {
    "l0": "compressor.penalties.l0:L0",
    "l1": "compressor.penalties.l1:L1",
    "l1-l2": "compressor.penalties.l1_minus_l2:L1MinusL2",
    "lp": "compressor.penalties.lp:Lp",
    "mcp": "compressor.penalties.mcp:Mcp",
    "scad": "compressor.penalties.scad:Scad",
    "transformed-l1": "compressor.penalties.transformed_l1:TransformedL1",
}

# What is also in PENALTIES acts on the norm of each channel; the others are group penalties themselves.
GROUP_PENALTIES = {
    "cges": "compressor.penalties.cges:Cges",
    "l0": PENALTIES["l0"],
    "lasso": "compressor.penalties.group:GroupLasso",
    "lp": PENALTIES["lp"],
    "mcp": PENALTIES["mcp"],
    "scad": PENALTIES["scad"],
    "transformed-l1": PENALTIES["transformed-l1"],
}


def penalty(name: str, **options: float | str) -> Penalty:
    """Build the penalty called ``name``; `UnknownName` or `UsageError` say what is allowed."""
    built: Penalty = _build("penalty", PENALTIES, name, options)
    return built


def group_penalty(name: str, **options: float | str) -> NormPenalty | Cges:
    """Build the group penalty called ``name``; `UnknownName` or `UsageError` say what is allowed.

    Each is a `GroupPenalty` but cges, which has no prox; lasso and cges are `Subgradient`.
    """
    from compressor.penalties.group import NormPenalty

    built: NormPenalty | Cges = _build("group penalty", GROUP_PENALTIES, name, options)
    return NormPenalty(built) if name in PENALTIES else built  # type: ignore[arg-type]


def step_of(penalty: Penalty, threshold: float) -> float:
    """The least step whose prox sends everything up to ``threshold`` >= 0 to zero, by bisection."""
    if threshold <= 0:
        return 0.0
    low, high = 0.0, 1.0
    while penalty.threshold(high) < threshold:
        high *= 2
    # Every threshold grows with the step; thirty more halvings than float64 has digits leave room for tiny ones.
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if penalty.threshold(middle) < threshold else (low, middle)
    return high


def _build(kind: str, table: Mapping[str, str], name: str, options: Mapping[str, float | str]) -> Any:
    build = resolve(kind, table, name)
    takes = [part.name for part in fields(build) if part.init]
    foreign = sorted(set(options) - set(takes))
    if foreign:
        raise UsageError(f"{kind} {name!r} has no option {foreign[0]!r}; it takes {', '.join(takes) or 'none'}")
    types = get_type_hints(build)
    return build(
        **{
            option: _number(f"{option} of {name}", value) if types[option] is float else value
            for option, value in options.items()
        }
    )


def _number(what: str, value: float | str) -> float:
    """``value`` as a float; text may be a fraction such as 2/3."""
    try:
        if not isinstance(value, str):
            return float(value)
        over, slash, under = value.partition("/")
        return float(over) / float(under if slash else 1)
    except (TypeError, ValueError, ArithmeticError):
        raise UsageError(f"{what} must be a number, got {value!r:.40}") from None
