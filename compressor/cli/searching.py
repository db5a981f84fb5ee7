"""``--target-drop``: its options, and the search that they make of a run."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, get_args

import click

from compressor.errors import UsageError
from compressor.records.run import TargetKind

if TYPE_CHECKING:
    from compressor.pipeline import RunPlan
    from compressor.pipeline.search_plan import SearchPlan

PROBES = 6


def search_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Decorate a command with ``--target-drop`` and ``--max-probes``."""
    drop = click.option(
        "--target-drop",
        type=float,
        metavar="POINTS",
        help="Find the smallest network whose metric is at most so many points worse on the validation part: a search "
        "of several runs, which goes by MACs, or down from another target that is given too.",
    )
    probes = click.option("--max-probes", type=int, help=f"Networks that --target-drop may train.  [default: {PROBES}]")
    return drop(probes(function))


def targets_given(options: dict[str, Any]) -> dict[TargetKind, float]:
    """The targets that are given, but for the drop."""
    kinds: tuple[TargetKind, ...] = get_args(TargetKind)
    given = {kind: options.get(f"target_{kind}") for kind in kinds if kind != "drop"}
    return {kind: float(value) for kind, value in given.items() if value is not None}


def search_of(options: dict[str, Any], plan: RunPlan, given: dict[TargetKind, float]) -> SearchPlan | None:
    """The search that the options ask for; None without ``--target-drop``. ``plan`` is its first run."""
    from compressor.pipeline.search_plan import SearchPlan

    if options["target_drop"] is None:
        if options["max_probes"] is not None:
            raise UsageError(f"--max-probes {options['max_probes']} needs a --target-drop; else there is one run")
        return None
    kind: TargetKind = next(iter(given), "macs")
    probes = PROBES if options["max_probes"] is None else options["max_probes"]
    return SearchPlan(run=plan, kind=kind, drop=options["target_drop"], limit=given.get(kind), probes=probes)
