"""``compress run``: the whole pipeline, resumable, with one report."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from compressor.cli.command import command
from compressor.cli.console import Console
from compressor.cli.gates import gate_lines, gate_options, require_held
from compressor.cli.options import data_options, model_options, out_option, overwrite_option
from compressor.cli.planning import plan_of, run_options


@command("run")
@click.argument("model")
@run_options
@gate_options
@data_options
@model_options
@out_option("Folder of the run.  [default: runs/MODEL]")
@overwrite_option
def run(console: Console, model: str, **options: Any) -> None:
    """Run all stages: fine-tune, shrink, recover, export, benchmark.

    Without --target-macs or --target-params, half of the multiply-accumulates (MACs) are kept. When a run was
    interrupted, the same command goes on where it stopped: finished stages are not repeated, a training goes on from
    its last state, and another stage that was interrupted starts again. --overwrite replaces the run that is there once
    the new one is whole. The limits --max-drop and --min-speedup compare the small network with the dense one in the
    end; when one does not hold, everything is kept and the exit code is 1.

    \b
      compress run digits_resnet --target-macs 0.5 --out runs/digits
    """
    from compressor.locks import hold_folder

    out = options["out"] or Path("runs") / Path(model).stem
    # Before anything heavy is imported, so that a second run is told at once.
    click.get_current_context().with_resource(hold_folder(out))

    from msgspec.structs import replace

    from compressor.cli.loading import load_network, load_samples, provenance
    from compressor.cli.publishing import show
    from compressor.cli.training import require_met
    from compressor.cli.workers import command_line
    from compressor.pipeline import Callbacks
    from compressor.pipeline import run as work
    from compressor.records.run import RunReport
    from compressor.report.gates import check_limits, check_run
    from compressor.report.run_tables import stage_table
    from compressor.stages import TITLES

    gates = {key: options[key] for key in ("max_drop", "min_speedup")}
    check_limits(**gates)
    if options["target_macs"] is None and options["target_params"] is None:
        options["target_macs"] = 0.5
    plan = plan_of(options, command_line())
    network, data = load_samples(console, load_network(model, options), options)
    plan = plan.noted(provenance(network.metadata.data, data))

    def complete(report: RunReport) -> RunReport:
        return replace(report, gates=check_run(report, **gates), warnings=console.with_printed(report.warnings))

    with console.stages(TITLES) as (start, skip, progress):
        callbacks = Callbacks(start=start, skip=skip, progress=progress, complete=complete)
        report = work(network, data, plan, out, overwrite=options["overwrite"], callbacks=callbacks)
    show(console, report, stage_table(report), *gate_lines(report.gates), f"Report: {out / 'report.html'}")
    require_met(report.target, out)
    require_held(report.gates)
