"""``compress run``: the whole pipeline, resumable, with one report."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from compressor.cli.command import command
from compressor.cli.console import Console
from compressor.cli.gates import gate_lines, gate_options, require_held
from compressor.cli.options import data_options, model_options, out_option, overwrite_option
from compressor.cli.planning import notes_of, plan_of, run_options
from compressor.cli.searching import search_of, search_options, targets_given


@command("run")
@click.argument("model")
@run_options
@search_options
@click.option(
    "--plan",
    is_flag=True,
    help="Say what would happen, with time, memory, disk and widths by a few steps that are measured, and do nothing.",
)
@gate_options
@data_options
@model_options
@out_option("Folder of the run.  [default: runs/MODEL]")
@overwrite_option
def run(console: Console, model: str, **options: Any) -> None:
    """Run all stages: fine-tune, shrink, recover, export, benchmark.

    Without a target half of the multiply-accumulates (MACs) are kept; of several targets all are met. A latency and a
    size are measured before the training, on the network that the weights leave now, and in the end. With --target-drop
    the smallest network within that drop is searched for, by runs that are kept in OUT/search. When a run was
    interrupted, the same command goes on where it stopped: finished stages are not repeated, a training goes on from
    its last state, and another stage that was interrupted starts again. --overwrite replaces the run that is there once
    the new one is whole. The limits --max-drop and --min-speedup compare the small network with the dense one in the
    end; when one does not hold, everything is kept and the exit code is 1.

    \b
      compress run digits_resnet --target-macs 0.5 --out runs/digits
    """
    from compressor.locks import hold_folder

    out = options["out"] or Path("runs") / Path(model).stem
    if not options["plan"]:
        # Before anything heavy is imported, so that a second run is told at once.
        click.get_current_context().with_resource(hold_folder(out))

    from msgspec.structs import replace

    from compressor.cli.forecast import show_plan
    from compressor.cli.loading import load_network, load_samples
    from compressor.cli.publishing import show
    from compressor.cli.training import require_met
    from compressor.cli.workers import command_line
    from compressor.errors import TargetNotMet
    from compressor.pipeline import Callbacks
    from compressor.pipeline import run as work
    from compressor.pipeline.search import missed_drop, search
    from compressor.records.run import RunReport
    from compressor.report.gates import check_limits, check_run
    from compressor.report.probe_table import probe_table
    from compressor.report.run_tables import stage_table
    from compressor.report.terminal import FittedTable
    from compressor.stages import TITLES

    gates = {key: options[key] for key in ("max_drop", "min_speedup")}
    check_limits(**gates)
    given = targets_given(options)
    if not given:
        options["target_macs"] = 0.5
    plan = plan_of(options, command_line())
    wanted = search_of(options, plan, given)
    network, data = load_samples(console, load_network(model, options), options)
    plan = plan.noted(notes_of(plan, network, data))
    if options["plan"]:
        show_plan(console, network, data, plan, runs=1 if wanted is None else wanted.probes)
        return

    def complete(report: RunReport) -> RunReport:
        return replace(report, gates=check_run(report, **gates), warnings=console.with_printed(report.warnings))

    with console.stages(TITLES) as (start, skip, progress):
        callbacks = Callbacks(start=start, skip=skip, progress=progress, complete=complete)
        again = {"overwrite": options["overwrite"], "callbacks": callbacks}
        if wanted is None:
            report = work(network, data, plan, out, **again)
        else:
            wanted = wanted.noted(plan.notes)
            report = search(network, data, wanted, out, announce=console.note, **again)
    shown = (FittedTable(probe_table(report)),) if report.probes else ()
    show(console, report, stage_table(report), *shown, *gate_lines(report.gates), f"Report: {out / 'report.html'}")
    if wanted is None:
        require_met(report.targets, out)
    elif report.target is not None and not report.target.met:
        raise TargetNotMet(missed_drop(report, wanted, out))
    require_held(report.gates)
