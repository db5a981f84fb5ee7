"""``compress run``: the whole pipeline, resumable, with one report."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Any

import click

from compressor.cli.command import command
from compressor.cli.console import Console
from compressor.cli.gates import gate_lines, gate_options, require_held
from compressor.cli.options import (
    costs_option,
    data_options,
    model_options,
    out_option,
    overwrite_option,
    penalty_options,
    runtime_options,
    training_options,
)


@command("run")
@click.argument("model")
@penalty_options
@click.option(
    "--epochs", type=int, default=12, show_default=True, help="Epochs in all: half with the penalty, half to recover."
)
@training_options
@click.option("--opset", type=int, default=18, show_default=True, help="Version of the ONNX operator set, 17 to 23.")
@runtime_options
@click.option(
    "--max-seconds", type=float, default=60.0, show_default=True, help="Seconds that measuring latency may take."
)
@costs_option
@click.option(
    "--allow-chance", is_flag=True, help="Go on although the dense network is no better than guessing on the test part."
)
@gate_options
@data_options
@model_options
@out_option("Folder of the run.  [default: runs/MODEL]")
@overwrite_option
def run(console: Console, model: str, **options: Any) -> None:
    """Run all stages: fine-tune, shrink, recover, export, benchmark.

    Without a target half of the multiply-accumulates (MACs) are kept; of several targets all are met. A latency and a
    size are measured before the training, on the network that the weights leave now, and in the end. When a run was
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
    from compressor.cli.training import costs_of, recipe_of, require_met
    from compressor.errors import UsageError
    from compressor.methods import method
    from compressor.pipeline import Callbacks, RunPlan
    from compressor.pipeline import run as work
    from compressor.records.run import RunReport
    from compressor.report.gates import check_limits, check_run
    from compressor.report.run_tables import stage_table
    from compressor.splitting import SplittingConfig
    from compressor.stages import TITLES

    if not method(options["method"]).target:
        raise UsageError(
            f"a run needs a target, which --method {options['method']} does not have; "
            "use compress fine-tune, then compress shrink"
        )
    gates = {key: options[key] for key in ("max_drop", "min_speedup")}
    check_limits(**gates)
    if all(options[f"target_{kind}"] is None for kind in ("macs", "params", "latency", "size")):
        options["target_macs"] = 0.5
    recipe = recipe_of(options)
    penalties = SplittingConfig(**{key: options[key] for key in SplittingConfig.__dataclass_fields__})
    others = ("opset", "threads", "provider", "max_seconds", "checkpoint_every", "allow_chance")
    plan = RunPlan(
        recipe=recipe,
        penalties=penalties,
        command=_command(),
        **{key: options[key] for key in others},
        costs=costs_of(options),
    )
    network, data = load_samples(console, load_network(model, options), options)
    plan = plan.noted(provenance(network.metadata.data, data))

    def complete(report: RunReport) -> RunReport:
        return replace(report, gates=check_run(report, **gates), warnings=console.with_printed(report.warnings))

    with console.stages(TITLES) as (start, skip, progress):
        callbacks = Callbacks(start=start, skip=skip, progress=progress, complete=complete)
        report = work(network, data, plan, out, overwrite=options["overwrite"], callbacks=callbacks)
    show(console, report, stage_table(report), *gate_lines(report.gates), f"Report: {out / 'report.html'}")
    require_met(report.targets, out)
    require_held(report.gates)


def _command() -> str:
    return shlex.join(["compress", *sys.argv[1:]])
