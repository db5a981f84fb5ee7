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
    teacher_options,
    training_options,
)


@command("recover")
@click.argument("model")
@teacher_options
@click.option("--epochs", type=int, default=10, show_default=True, help="Passes over the training part.")
@training_options
@data_options
@model_options
@out_option("Checkpoint to write, .pt or .safetensors.  [default: MODEL-recovered.pt]")
@overwrite_option
def recover(console: Console, model: str, **options: Any) -> None:
    """Train a shrunk MODEL on, to win back the accuracy that it lost.

    That works best with the dense network as --teacher. No penalty takes part, and weights that are exactly zero stay
    zero. The figures of every epoch go to a .jsonl file beside --out. When a training was interrupted, the same
    command goes on where it stopped: until the result is written, a folder beside --out holds the state after every
    epoch.

    \b
      compress recover digits_resnet-shrunk.pt --teacher digits_resnet
    """
    from compressor.cli.loading import load_network, load_samples
    from compressor.cli.training import check_outputs, load_teacher, recipe_of, show_training, train_to

    recipe = recipe_of(options)
    out = options["out"] or Path(f"{Path(model).stem.removesuffix('-shrunk')}-recovered.pt")
    check_outputs(out, overwrite=options["overwrite"])
    network, data = load_samples(console, load_network(model, options), options)
    recovered = train_to(console, out, network, data, recipe, None, load_teacher(options), options)
    show_training(console, recovered.record, out)
