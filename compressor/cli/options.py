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
    parse_input,
    parse_number_pairs,
    parse_shape,
    parse_share,
    parse_size,
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
INPUT = Parsed("input", parse_input)
BYTES = Parsed("size", parse_size)

input_options = _stack(
    click.option(
        "--normalize",
        metavar="NAME|MEAN/STD",
        help="How inputs are normalised: none, imagenet, cifar10, or for example 0.5,0.5,0.5/0.2,0.2,0.2.",
    ),
    click.option("--input-shape", type=SHAPE, metavar="CxHxW", help="Shape of one input, for example 3x224x224."),
    click.option("--input", "inputs", type=INPUT, metavar="[NAME=]SHAPE[:TYPE[:LOW-HIGH]]", multiple=True,
                 help="An input with its batch, drawn at random, for example ids=2x128:int64:0-999 (integers are 0 and "
                 "1 where no range is given); once for each input."),
    click.option("--example", "examples", type=click.Path(path_type=Path), metavar="FILE", multiple=True,
                 help="What the network is called with: .npz with arrays by name, or .pt as torch.save writes tensors. "
                 "Several files are several paths to follow, or lengths."),
    click.option("--outputs", metavar="KEY", multiple=True,
                 help="An output that counts, by place or key: 0, logits, aux.0; once for each.  [default: all]"),
)  # fmt: skip

model_options = _stack(
    click.option(
        "--arch",
        metavar="REF",
        help="What builds the network: a built-in name (compress list architectures), torchvision:NAME, timm:NAME, "
        "package.module:factory or file.py:factory.",
    ),
    click.option(
        "--arch-arg",
        "arch_args",
        metavar="NAME=VALUE",
        multiple=True,
        help="Argument of the architecture's factory; may be given several times.",
    ),
    click.option(
        "--state-key",
        metavar="KEY",
        help="Where in the file of MODEL the tensors lie, when it is none of the usual names: for example ema.model.",
    ),
    click.option(
        "--trust-arch",
        is_flag=True,
        help="Run the code of a user's file or module that the checkpoint names, and let it fetch what it names.",
    ),
    input_options,
    click.option(
        "--classes", type=click.Path(dir_okay=False, path_type=Path), help="Text file with one class name per line."
    ),
)

data_options = _stack(
    click.option(
        "--data",
        metavar="REF",
        help="Data set: digits, curves, mnist:DIR, folder:DIR|FILE.zip or npz:FILE; by default the one that the "
        "checkpoint names.",
    ),
    click.option(
        "--val-fraction", type=float, help="Share of the training part held out for validation.  [default: 0.1]"
    ),
    click.option(
        "--split-seed", type=int, help="Seed that draws the samples held out for validation and test.  [default: 0]"
    ),
    click.option("--max-train", type=int, help="Train on at most this many samples."),
)

penalty_options = _stack(
    click.option(
        "--penalty",
        type=PENALTY,
        metavar="NAME",
        help=f"Penalty on single weights: none, {', '.join(sorted(PENALTIES))}.  [default: none; l0 for method rvsm]",
    ),
    click.option(
        "--penalty-arg",
        "penalty_args",
        metavar="NAME=VALUE",
        multiple=True,
        callback=parse_number_pairs,
        help="Parameter of --penalty, for example alpha=0.5 (compress list penalties); may be given several times.",
    ),
    click.option(
        "--strength",
        type=float,
        help="How much --penalty does: how far l1 draws a weight towards zero until half of the training is over, in "
        "units of the root mean square (RMS) of its layer's weights. In the papers' methods it is their lambda.  "
        "[default: the method's]",
    ),
    click.option("--target-macs", type=SHARE, help="Keep at most this share of the multiply-accumulates (MACs)."),
    click.option("--target-params", type=SHARE, help="Keep at most this share of the parameters."),
    click.option(
        "--target-latency",
        type=SHARE,
        help="Take at most this share of the dense network's time in ONNX Runtime, measured on this machine or "
        "foretold by --costs.",
    ),
    click.option(
        "--target-size",
        type=BYTES,
        metavar="SIZE",
        help="Write an ONNX file of at most so many bytes, for example 2MB, 500KB or 1MiB.",
    ),
    click.option("--compressed", is_flag=True, help="--target-size is that of the file after gzip -6."),
    click.option(
        "--target-zeros",
        type=SHARE,
        help="Make this share of the convolution and linear weights that stay zero, for a smaller compressed file; "
        "--penalty says how they are drawn there.  [default penalty: l1-l2]",
    ),
    click.option(
        "--method",
        type=METHOD,
        default="budget",
        show_default=True,
        metavar="NAME",
        help=f"How penalties reach the weights: {', '.join(METHODS)} (compress list methods).",
    ),
    click.option(
        "--group-penalty",
        type=GROUP_PENALTY,
        metavar="NAME",
        help="Penalty on channels. In method budget l0, by which those that the target drops become zero, or none; in "
        f"methods paper and rgsm one of {', '.join(sorted(GROUP_PENALTIES))}.  [default: l0; lasso for method paper]",
    ),
    click.option(
        "--group-penalty-arg",
        "group_penalty_args",
        metavar="NAME=VALUE",
        multiple=True,
        callback=parse_number_pairs,
        help="Parameter of --group-penalty; may be given several times.",
    ),
    click.option(
        "--group-strength", type=float, help="Methods paper and rgsm: lambda of the group penalty in the gradient."
    ),
    click.option(
        "--beta",
        type=BETA,
        help="Weight of the pull towards the zeros: it grows from START to END, and is infinite for the last tenth of "
        "the training. In the papers' methods one number, which acts per learning rate.  [default: the method's]",
    ),
    click.option("--growth", type=GROWTH, help="Method paper: beta grows by FACTOR every EPOCHS.  [default: 1.25:40]"),
    click.option(
        "--layers",
        metavar="PATTERN",
        multiple=True,
        help="Penalise only layers of such names, for example 'layer3.*'; may be given several times.",
    ),
    click.option(
        "--align",
        metavar="auto|auto:BLOCK|N",
        default="auto",
        show_default=True,
        help="Keep multiples of N channels; auto: whole blocks of as many as this processor computes at once (16 with "
        "AVX-512, else 8), or a half or a quarter of one; auto:BLOCK for another processor.",
    ),
    click.option(
        "--keep-blocks",
        is_flag=True,
        help="Keep channels in every residual block; else a target may drop whole blocks.",
    ),
)

device_option = click.option(
    "--device", default="auto", show_default=True, metavar="auto|cpu|cuda[:i]", help="Device that the network runs on."
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
        help="Precision of the arithmetic in training; weights stay in 32 bits.",
    ),
    click.option(
        "--seed",
        type=int,
        default=0,
        show_default=True,
        help="Seed of the order of samples, of augmentation and of random weights.",
    ),
    click.option(
        "--checkpoint-every",
        type=int,
        default=1,
        show_default=True,
        metavar="EPOCHS",
        help="How often all that was trained is written to disk, so that the same command goes on from there.",
    ),
)

teacher_option = click.option(
    "--teacher", metavar="MODEL", help="Checkpoint of a network to imitate: its soft labels are half of the loss."
)

runtime_options = _stack(
    click.option(
        "--threads",
        type=int,
        default=1,
        show_default=True,
        help="Threads that ONNX Runtime uses inside an operator.",
    ),
    click.option(
        "--provider",
        default="cpu",
        show_default=True,
        metavar="NAME",
        help="Execution provider of ONNX Runtime (compress list providers).",
    ),
    click.option(
        "--allow-fallback",
        is_flag=True,
        help="Measure although some nodes run on another provider than --provider; the report says what share.",
    ),
)

costs_option = click.option(
    "--costs",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="What compress costs measured, here or on the machine that counts; else --target-latency measures it first.",
)

overwrite_option = click.option("--overwrite", is_flag=True, help="Replace what is at --out.")


def out_option(help_text: str) -> Decorator:
    """``--out`` with what it is in this command."""
    return click.option("--out", type=click.Path(path_type=Path), help=help_text)
