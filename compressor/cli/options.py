"""Options that mean the same thing everywhere, spelled once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from compressor.cli.parsing import (
    Parsed,
    one_of,
    parse_beta,
    parse_growth,
    parse_number_pairs,
    parse_shape,
    parse_share,
)
from compressor.methods import METHODS
from compressor.penalties import GROUP_PENALTIES, PENALTIES

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


def _stack(*decorators: Decorator) -> Decorator:
    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        for decorator in reversed(decorators):
            function = decorator(function)
        return function

    return decorate


SHAPE = Parsed("CxHxW", parse_shape)
BETA = Parsed("start:end", parse_beta)
METHOD = Parsed("name", one_of("method", METHODS))
PENALTY = Parsed("name", one_of("penalty", ["none", *PENALTIES]))
GROUP_PENALTY = Parsed("name", one_of("group penalty", ["none", *GROUP_PENALTIES]))
GROWTH = Parsed("factor:epochs", parse_growth)
SHARE = Parsed("share", parse_share)

input_options = _stack(
    click.option("--normalize", metavar="NAME|MEAN/STD", help="none, imagenet, cifar10, or 0.5,0.5,0.5/0.2,0.2,0.2."),
    click.option("--input-shape", type=SHAPE, metavar="CxHxW", help="Input of the network, for example 3x224x224."),
)

model_options = _stack(
    click.option(
        "--arch", metavar="REF", help="resnet20, torchvision:NAME, timm:NAME, package.module:factory, file.py:factory."
    ),
    click.option(
        "--arch-arg", "arch_args", metavar="NAME=VALUE", multiple=True, help="Argument of the architecture's factory."
    ),
    click.option(
        "--trust-arch", is_flag=True, help="Run the factory in a user's file or module that the checkpoint names."
    ),
    input_options,
    click.option(
        "--classes", type=click.Path(dir_okay=False, path_type=Path), help="Text file with one class name a line."
    ),
)

data_options = _stack(
    click.option(
        "--data",
        metavar="REF",
        help="digits, mnist:DIR, folder:DIR|FILE.zip or npz:FILE; the checkpoint's own by default.",
    ),
    click.option(
        "--val-fraction", type=float, help="Share of the training part held out for validation.  [default: 0.1]"
    ),
    click.option("--split-seed", type=int, help="Which samples are held out for validation and test.  [default: 0]"),
    click.option("--max-train", type=int, help="Train on at most this many samples."),
)

penalty_options = _stack(
    click.option(
        "--penalty",
        type=PENALTY,
        metavar="NAME",
        help=f"On single weights: none, {', '.join(sorted(PENALTIES))}.  [default: none; l0 for method rvsm]",
    ),
    click.option(
        "--penalty-arg",
        "penalty_args",
        metavar="NAME=VALUE",
        multiple=True,
        callback=parse_number_pairs,
        help="Parameter of the penalty, for example alpha=0.5 (compress list penalties).",
    ),
    click.option(
        "--strength",
        type=float,
        help="lambda of the penalty: how far l1 draws a weight until half time, in units of its layer's RMS; in "
        "the papers' methods absolute, per learning rate.  [default: the method's]",
    ),
    click.option("--target-macs", type=SHARE, help="Keep at most this share of the multiply-accumulates."),
    click.option("--target-params", type=SHARE, help="Keep at most this share of the parameters."),
    click.option(
        "--target-zeros",
        type=SHARE,
        help="Make this share of the remaining convolution and linear weights zero, for a smaller compressed file; "
        "--penalty says how.  [default penalty: l1-l2]",
    ),
    click.option(
        "--method",
        type=METHOD,
        default="budget",
        show_default=True,
        metavar="NAME",
        help=f"{', '.join(METHODS)} (compress list methods).",
    ),
    click.option(
        "--group-penalty",
        type=GROUP_PENALTY,
        metavar="NAME",
        help="On channels: none or l0, trimmed to what the target drops; in methods paper and rgsm one of "
        f"{', '.join(sorted(GROUP_PENALTIES))}.  [default: l0; lasso for method paper]",
    ),
    click.option(
        "--group-penalty-arg",
        "group_penalty_args",
        metavar="NAME=VALUE",
        multiple=True,
        callback=parse_number_pairs,
        help="Parameter of the group penalty.",
    ),
    click.option("--group-strength", type=float, help="lambda of the group lasso in methods paper and rgsm."),
    click.option(
        "--beta",
        type=BETA,
        help="Weight of the splitting term: its growth START:END per training, until the gap is closed; in the papers' "
        "methods one number, per learning rate.  [default: the method's]",
    ),
    click.option("--growth", type=GROWTH, help="Method paper: beta grows by FACTOR every EPOCHS.  [default: 1.25:40]"),
    click.option(
        "--layers", metavar="PATTERN", multiple=True, help="Penalise only layers of such names, for example 'layer3.*'."
    ),
    click.option(
        "--align",
        metavar="auto|N",
        default="auto",
        show_default=True,
        help="Round kept channels up to multiples of N; auto: 8, or 4 in narrow layers.",
    ),
)

device_option = click.option(
    "--device", default="auto", show_default=True, metavar="auto|cpu|cuda[:i]", help="Where the network runs."
)

training_options = _stack(
    click.option("--lr", type=float, help="Peak learning rate.  [default: 0.02 for sgd, 0.001 for adamw]"),
    click.option("--batch-size", type=int, default=64, show_default=True, help="Samples in a training step."),
    click.option(
        "--optimizer",
        type=click.Choice(["sgd", "adamw"]),
        default="sgd",
        show_default=True,
        help="Nesterov SGD or AdamW.",
    ),
    device_option,
    click.option(
        "--precision",
        type=click.Choice(["32", "bf16", "16"]),
        default="32",
        show_default=True,
        help="Arithmetic of the training; weights stay in 32 bits.",
    ),
    click.option("--seed", type=int, default=0, show_default=True, help="Of order, augmentation and random weights."),
)

teacher_option = click.option("--teacher", metavar="MODEL", help="Checkpoint whose soft labels are half of the loss.")

overwrite_option = click.option("--overwrite", is_flag=True, help="Replace what is at --out.")


def out_option(help_text: str) -> Decorator:
    """``--out`` with what it is in this command."""
    return click.option("--out", type=click.Path(path_type=Path), help=help_text)
