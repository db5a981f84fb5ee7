"""``compress sweep``: one run for each of several targets, side by side, resumable point by point."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import click

from compressor.cli.command import command
from compressor.cli.console import Console
from compressor.cli.options import data_options, model_options, out_option, overwrite_option
from compressor.cli.parsing import Parsed, shortened
from compressor.cli.penalty_options import penalty_options
from compressor.cli.planning import notes_of, plan_of, run_options
from compressor.errors import UsageError
from compressor.launcher import given_place
from compressor.records.run import TargetKind

if TYPE_CHECKING:
    from compressor.pipeline import Callbacks
    from compressor.records.sweep import SweepReport


def _readers() -> dict[str, click.ParamType[Any]]:
    """How a target of each kind is written: as in the option of its own."""
    known = {option.name: option.type for option in vars(penalty_options(lambda: None))["__click_params__"]}
    return {kind: known[f"target_{kind}"] for kind in get_args(TargetKind) if f"target_{kind}" in known}


READERS = _readers()


def _texts(text: str) -> tuple[str, ...]:
    """Targets of a kind that is not known yet."""
    texts = tuple(part.strip() for part in text.split(",") if part.strip())
    if not texts:
        raise UsageError(f"{shortened(text)} names no target; write for example 0.75,0.5,0.33,0.25")
    return texts


# For each processor that is given.
MOST_WORKERS = 4


@command("sweep")
@click.argument("model")
@click.option(
    "--targets",
    type=Parsed("targets", _texts),
    default="0.75,0.5,0.33,0.25",
    show_default=True,
    metavar="A,B,...",
    help="A network is made for each of these, written as in the option --target-KIND.",
)
@click.option(
    "--kind",
    type=click.Choice(list(READERS)),
    default="macs",
    show_default=True,
    help="What the targets limit: the option --target-KIND that each point gets.",
)
@click.option(
    "--workers",
    type=int,
    default=1,
    show_default=True,
    help="Processes that work on points at the same time, on this machine.",
)
@click.option(
    "--points-only",
    is_flag=True,
    help="Work on points that nobody has, and leave without a report when there is none: for further machines.",
)
@run_options
@data_options
@model_options
@out_option("Folder of the sweep.  [default: sweeps/MODEL]")
@overwrite_option
def sweep(console: Console, model: str, **options: Any) -> None:
    """Make a network for each of several targets, and chart them.

    The chart shows the metric against latency. Each point is a run of its own in OUT/points, with all its files. In the
    end all networks are measured in turns, and those are marked that another one beats. The same command goes on where
    it stopped, point by point; given on another machine with the same --out on a shared disk, it takes points that
    nobody has. With other --targets, what is finished is kept. --overwrite starts all points again. When a point fails
    or misses its target, the others are kept and the exit code is 1.

    \b
      compress sweep digits_resnet --targets 0.75,0.5,0.33,0.25 --out sweeps/digits
    """
    from msgspec.structs import replace

    from compressor.benchmarking.environment import allowed_cpus
    from compressor.cli.loading import load_network, load_samples
    from compressor.cli.workers import command_line, end_with_parent, helpers, share_processors
    from compressor.pipeline.sweep import SweepCallbacks, SweepPlan
    from compressor.pipeline.sweep import sweep as work

    end_with_parent()
    out = options["out"] or Path("sweeps") / Path(model).stem
    kind = options["kind"]
    if options[f"target_{kind}"] is not None:
        raise UsageError(f"--targets are those of --target-{kind}; leave --target-{kind} out, or choose another --kind")
    most = MOST_WORKERS * len(allowed_cpus())
    if not 1 <= options["workers"] <= most:
        raise UsageError(f"--workers must be between 1 and {most}, got {options['workers']}")
    if options["workers"] > 1 and given_place() is not None:
        raise UsageError(f"--workers {options['workers']} starts processes itself; give --devices, without torchrun")
    targets = tuple(READERS[kind].convert(text, None, None) for text in options["targets"])
    options[f"target_{kind}"] = max(targets)
    plan = SweepPlan(run=plan_of(options, command_line()), kind=kind, targets=targets)
    network, data = load_samples(console, load_network(model, options), options)
    plan = plan.noted(notes_of(plan.run, network, data))

    def complete(report: SweepReport) -> SweepReport:
        return replace(report, warnings=tuple(dict.fromkeys((*console.warnings, *report.warnings))))

    with contextlib.ExitStack() as stack:
        progress = stack.enter_context(console.progress("measuring"))
        callbacks = SweepCallbacks(
            point=lambda name: _watched(console, f"--target-{kind} {name}"),
            failed=lambda name, why: console.warn(f"no network for {name}: {why}"),
            wait=lambda names: console.note(f"Waiting for {', '.join(names)}, which other processes work on"),
            progress=progress,
            complete=complete,
        )
        share_processors(options["workers"])
        stack.enter_context(helpers(options["workers"] - 1, console.warn))
        report = work(
            network,
            data,
            plan,
            out,
            overwrite=options["overwrite"],
            points_only=options["points_only"],
            callbacks=callbacks,
        )
    if report is None:
        console.result({"out": str(out)}, f"No point of {out} is left to take.")
    else:
        _show(console, report, out)


@contextlib.contextmanager
def _watched(console: Console, title: str) -> Iterator[Callbacks]:
    """Tells of the stages of one point."""
    from compressor.pipeline import Callbacks
    from compressor.stages import TITLES

    console.note(title)
    with console.stages({stage: f"  {text}" for stage, text in TITLES.items()}) as (start, skip, progress):
        yield Callbacks(start=start, skip=skip, progress=progress)


def _show(console: Console, report: SweepReport, out: Path) -> None:
    from compressor.errors import TargetNotMet
    from compressor.report.sweep_page import sweep_headline, sweep_warnings
    from compressor.report.sweep_table import sweep_table
    from compressor.report.terminal import FittedTable

    for warning in sweep_warnings(report):
        if warning not in console.warnings:
            console.warn(warning)
    console.result(report, FittedTable(sweep_table(report)), sweep_headline(report), f"Report: {out / 'sweep.html'}")
    missed = [one.name for one in report.networks if one.target is not None and not one.target.met]
    if lacking := [*(f"{name} is missed" for name in missed), *(f"{one.name}: {one.why}" for one in report.failed)]:
        raise TargetNotMet(f"{'; '.join(lacking)}; the other networks are kept in {out}")
