"""``compress fine-tune``: train with penalties until whole channels are exactly zero."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from compressor.cli.command import command
from compressor.cli.console import Console
from compressor.cli.options import (
    data_options,
    model_options,
    out_option,
    overwrite_option,
    penalty_options,
    training_options,
)

if TYPE_CHECKING:
    from torch import nn

    from compressor.training.fine_tuning import FineTuned


@command("fine-tune")
@click.argument("model", required=False)
@penalty_options
@click.option("--epochs", type=int, default=10, show_default=True, help="Passes over the training part.")
@training_options
@click.option("--teacher", metavar="MODEL", help="Checkpoint whose soft labels make up half of the loss.")
@data_options
@model_options
@out_option("Checkpoint to write, .pt or .safetensors.  [default: MODEL-sparse.pt, or MODEL-tuned.pt]")
@overwrite_option
def fine_tune(console: Console, model: str | None, **options: Any) -> None:
    """Train MODEL until whole channels are exactly zero.

    MODEL is a checkpoint file or a name from `compress list models`; without it, --arch starts from random
    weights. --penalty alone implies --target-macs 0.5, unless --group-penalty is none; without penalty and target
    it only trains, and weights that are exactly zero stay so. The methods of the papers take no target. Metrics go
    to a .jsonl file beside --out.

    \b
      compress fine-tune digits_resnet --penalty l1-l2 --target-macs 0.5
    """
    from msgspec import to_builtins

    from compressor.checkpoints import SUFFIXES, save
    from compressor.cli.loading import load_network, load_samples
    from compressor.cli.publishing import check_out
    from compressor.errors import TargetNotMet
    from compressor.splitting import SplittingConfig
    from compressor.training.fine_tuning import fine_tune as work
    from compressor.training.metrics import metrics_file
    from compressor.training.recipe import Recipe

    if _implies_target(options):
        options["target_macs"] = 0.5
    penalties = SplittingConfig(**{key: options[key] for key in SplittingConfig.__dataclass_fields__})
    recipe = Recipe(**{key: options[key] for key in options.keys() & Recipe.__dataclass_fields__.keys()})
    recipe.fabric()  # a missing device is told before anything is loaded
    out = options["out"] or _default_out(model, options["arch"], sparse=penalties.any)
    for file, endings in ((out, SUFFIXES), (out.with_suffix(".jsonl"), (".jsonl",))):
        check_out(file, endings, overwrite=options["overwrite"])
    network, data = load_samples(console, load_network(model, options, seed=recipe.seed), options)
    teacher = _teacher(options)
    with metrics_file(out.with_suffix(".jsonl")) as write, console.progress("fine-tune") as progress:
        tuned = work(
            network, data, recipe, penalties,
            teacher=teacher, on_epoch=lambda epoch: write(to_builtins(epoch)), progress=progress,
        )  # fmt: skip
        save(tuned.network, out, overwrite=options["overwrite"])
    undone = [str(epoch.epoch) for epoch in tuned.epochs if epoch.lr_halved]
    if undone:
        console.warn(f"training diverged in epoch {', '.join(undone)}; undone, learning rate halved")
    console.result(_document(tuned, out), *_tables(tuned), f"Wrote {out}")
    if not tuned.met and tuned.projection is not None and tuned.projection.target is not None:
        target = tuned.projection.target
        raise TargetNotMet(
            f"{tuned.projection.reached:.3f} of the {target.what} are left, {target.ratio:g} was asked; {out} is kept"
        )


def _implies_target(options: dict[str, Any]) -> bool:
    """Whether penalties were asked for that need a target, and none was given."""
    from compressor.methods import METHODS

    given, groups = options["target_macs"] is not None or options["target_params"] is not None, options["group_penalty"]
    penalises = {options["penalty"], groups} - {None, "none"}
    return METHODS[options["method"]].target and not given and groups != "none" and bool(penalises)


def _default_out(model: str | None, arch: str | None, *, sparse: bool) -> Path:
    stem = Path(model).stem if model else (arch or "model").rpartition(":")[2]
    return Path(f"{stem}-{'sparse' if sparse else 'tuned'}.pt")


def _teacher(options: dict[str, Any]) -> nn.Module | None:
    """The teacher describes itself, or shares the architecture of MODEL."""
    from compressor.checkpoints import load
    from compressor.cli.loading import load_network
    from compressor.errors import UsageError

    if options["teacher"] is None:
        return None
    try:
        return load(options["teacher"], trust_arch=options["trust_arch"]).model
    except UsageError:
        return load_network(options["teacher"], {**options, "classes": None}).model


def _document(tuned: FineTuned, out: Path) -> dict[str, Any]:
    projection = tuned.projection
    return {
        "out": str(out),
        "accuracy": {
            "before": tuned.before,
            "trained": tuned.trained,
            "projected": tuned.projected,
            "final": tuned.final,
        },
        "macs": projection.macs if projection else None,
        "parameters": projection.parameters if projection else None,
        "channels_kept": dict(projection.kept) if projection else None,
        "gap": projection.gap if projection else None,
        "entries_zeroed": projection.entries_zeroed if projection else None,
        "sparsity": dict(projection.sparsity) if projection else None,
        "epochs": tuned.epochs,
    }


def _tables(tuned: FineTuned) -> list[Any]:
    from compressor.cli.figures import metric_text, percent, table

    steps = {"before": tuned.before, "after training": tuned.trained, "after projection": tuned.projected}
    if tuned.projected is not None:
        steps["BatchNorm re-estimated"] = tuned.final
    rows = [(name, metric_text(found)) for name, found in steps.items() if found is not None]
    shown: list[Any] = [table(("", "test accuracy"), rows)]
    projection = tuned.projection
    if projection is not None:
        kept = [
            (name, f"{after:,} of {before:,}", percent(after / before))
            for name, pair in (("MACs", projection.macs), ("parameters", projection.parameters))
            if pair is not None
            for before, after in [pair]
        ]
        if projection.target is None:
            zeros = [
                (name, percent(found.weights), percent(found.groups)) for name, found in projection.sparsity.items()
            ]
            shown.append(table(("zero before projection", "weights", "groups"), zeros))
        if kept:
            shown.append(table(("kept once the zero channels are removed", "", ""), kept))
        shown.append(
            f"Gap |W - P(W)| / |W| before projection: {projection.gap:.1e}; "
            f"{projection.entries_zeroed:,} single weights set to zero."
        )
    return shown
