"""The gates of ``run`` and ``compare``: their options, and what is said of them in the end."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from compressor.records.run import Gate


def gate_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Decorate a command with ``--max-drop`` and ``--min-speedup``."""
    max_drop = click.option(
        "--max-drop",
        type=float,
        metavar="POINTS",
        help="Fail when the metric may be worse by more than this: points of accuracy, or the metric's own unit. "
        "A negative limit asks for a better metric.",
    )
    min_speedup = click.option(
        "--min-speedup", type=float, metavar="FACTOR", help="Fail when the speed-up may be smaller than this."
    )
    return max_drop(min_speedup(function))


def gate_lines(gates: Iterable[Gate]) -> list[str]:
    """A line for each gate; what was measured at those that fail is the command's error."""
    return [
        f"Gate --{gate.name} {gate.limit:g} holds: {gate.measured}."
        if gate.holds
        else f"Gate --{gate.name} {gate.limit:g} fails: see the error."
        for gate in gates
    ]


def require_held(gates: Iterable[Gate]) -> None:
    """Raise `TargetNotMet` when a gate does not hold."""
    from compressor.errors import TargetNotMet
    from compressor.report.gates import failures

    if failed := failures(gates):
        raise TargetNotMet("; ".join(failed))
