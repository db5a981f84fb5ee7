"""``compress recover``: win back the accuracy that shrinking cost."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from compressor.cli.command import command
from compressor.cli.console import Console
from compressor.cli.options import (
    data_options,
    model_options,
    out_option,
    overwrite_option,
    teacher_option,
    training_options,
)


@command("recover")
@click.argument("model")
@teacher_option
@click.option("--epochs", type=int, default=10, show_default=True, help="Passes over the training part.")
@training_options
@data_options
@model_options
@out_option("Checkpoint to write, .pt or .safetensors.  [default: MODEL-recovered.pt]")
@overwrite_option
def recover(console: Console, model: str, **options: Any) -> None:
    """Train a shrunk MODEL on, to win back the accuracy that it lost.

    That works best with the dense network as --teacher. No penalty takes part, and weights that are exactly zero stay
    zero. The figures of every epoch go to a .jsonl file beside --out.

    \b
      compress recover digits_resnet-small.pt --teacher digits_resnet
    """
    from compressor.checkpoints import save
    from compressor.cli.loading import load_network, load_samples
    from compressor.cli.training import check_outputs, load_teacher, recipe_of, show_training
    from compressor.codec import metrics_file
    from compressor.stages.recover import recover as work

    recipe = recipe_of(options)
    out = options["out"] or Path(f"{Path(model).stem.removesuffix('-small')}-recovered.pt")
    check_outputs(out, overwrite=options["overwrite"])
    network, data = load_samples(console, load_network(model, options), options)
    teacher = load_teacher(options)
    with metrics_file(out.with_suffix(".jsonl")) as write, console.progress("recover") as progress:
        recovered = work(network, data, recipe, teacher=teacher, on_epoch=write, progress=progress)
        save(recovered.network, out, overwrite=options["overwrite"])
    show_training(console, recovered.record, out)
