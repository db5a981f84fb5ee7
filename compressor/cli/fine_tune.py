"""``compress fine-tune``: train with penalties until whole channels are exactly zero."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from compressor.cli.command import command
from compressor.cli.console import Console
from compressor.cli.options import (
    costs_option,
    data_options,
    model_options,
    out_option,
    overwrite_option,
    runtime_options,
    teacher_options,
    training_options,
)
from compressor.cli.penalty_options import penalty_options
from compressor.cli.searching import targets_given


@command("fine-tune")
@click.argument("model", required=False)
@penalty_options
@click.option("--epochs", type=int, default=10, show_default=True, help="Passes over the training part.")
@training_options
@runtime_options
@costs_option
@teacher_options
@data_options
@model_options
@out_option("Checkpoint to write, .pt or .safetensors.  [default: MODEL-sparse.pt, or MODEL-tuned.pt]")
@overwrite_option
def fine_tune(console: Console, model: str | None, **options: Any) -> None:
    """Train MODEL until whole channels are exactly zero.

    MODEL is a checkpoint file or a name from `compress list models`; without it, --arch starts from random weights.

    --target-macs, --target-params, --target-latency and --target-size say how much of the network may stay: the
    channels that are needed least become zero; of several targets all are met. --target-zeros asks for zeros among the
    weights that stay, beside such a target or alone. --penalty alone implies --target-macs 0.5, unless --group-penalty
    is none. The methods of the papers take no target.

    Without penalty and target the network is only trained, and weights that are exactly zero stay zero. The figures of
    every epoch go to a .jsonl file beside --out. When a training was interrupted, the same command goes on where it
    stopped: until the result is written, a folder beside --out holds the state after every epoch.

    \b
      compress fine-tune digits_resnet --penalty l1-l2 --target-macs 0.5
    """
    from compressor.cli.loading import load_network, load_samples
    from compressor.cli.training import (
        check_outputs,
        load_teacher,
        recipe_of,
        require_met,
        show_training,
        train_to,
        warn_of_chance,
    )
    from compressor.splitting import SplittingConfig
    from compressor.stages.aim import Runtime

    if _implies_target(options):
        options["target_macs"] = 0.5
    penalties = SplittingConfig(**{key: options[key] for key in SplittingConfig.__dataclass_fields__})
    recipe = recipe_of(options)
    out = options["out"] or _default_out(model, options["arch"], sparse=penalties.any)
    check_outputs(out, overwrite=options["overwrite"])
    network, data = load_samples(console, load_network(model, options, seed=recipe.seed), options)
    if model is not None:
        warn_of_chance(console, network, data, options["device"])
    runtime = Runtime(**{key: options[key] for key in ("threads", "provider", "seed", "allow_fallback")})
    tuned = train_to(console, out, network, data, recipe, penalties, load_teacher(options), options, runtime)
    show_training(console, tuned.record, out)
    require_met(tuned.record.targets, out)


def _implies_target(options: dict[str, Any]) -> bool:
    """Whether penalties were asked for that need a target, and none was given."""
    from compressor.methods import METHODS

    groups = options["group_penalty"]
    penalises = {options["penalty"], groups} - {None, "none"}
    wanted = targets_given(options) or options["target_zeros"] is not None
    return METHODS[options["method"]].target and not wanted and groups != "none" and bool(penalises)


def _default_out(model: str | None, arch: str | None, *, sparse: bool) -> Path:
    stem = Path(model).stem if model else (arch or "model").rpartition(":")[2]
    return Path(f"{stem}-{'sparse' if sparse else 'tuned'}.pt")
