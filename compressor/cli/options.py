"""Options that mean the same thing everywhere, spelled once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from compressor.cli.parsing import (
    Parsed,
    parse_input,
    parse_shape,
)

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


def stack(*decorators: Decorator) -> Decorator:
    """One decorator that adds the options of all, in their order."""

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        for decorator in reversed(decorators):
            function = decorator(function)
        return function

    return decorate


SHAPE = Parsed("CxHxW", parse_shape)
INPUT = Parsed("input", parse_input)

input_options = stack(
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

model_options = stack(
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

data_options = stack(
    click.option(
        "--data",
        metavar="REF",
        help="Data set: digits, curves, mnist:DIR, folder:DIR|FILE.zip, hf:FOLDER, npz:FILE or webdataset:DIR|PATTERN; "
        "by default the one that the checkpoint names. Or file.py:NAME, a function that returns train, validation and "
        "test batches of your own.",
    ),
    click.option(
        "--task",
        metavar="NAME|REF",
        help="What the network is for: classification, multi-label, regression or segmentation, or your own class, "
        "file.py:Task or package.module:Task.  [default: classification]",
    ),
    click.option(
        "--task-arg",
        "task_args",
        metavar="NAME=VALUE",
        multiple=True,
        help="Option of the task, for example label_smoothing=0.1 (compress list tasks); may be given several times.",
    ),
    click.option(
        "--val-fraction", type=float, help="Share of the training part held out for validation.  [default: 0.1]"
    ),
    click.option(
        "--split-seed", type=int, help="Seed that draws the samples held out for validation and test.  [default: 0]"
    ),
    click.option("--max-train", type=int, help="Train on at most this many samples."),
    click.option(
        "--data-workers",
        type=int,
        metavar="PROCESSES",
        help="Processes that decode images which exceed --max-memory and so stay on the disk; 0: none beside this "
        "one.  [default: one a processor, at most 8]",
    ),
)

device_option = click.option(
    "--device", default="auto", show_default=True, metavar="auto|cpu|cuda[:i]", help="Device that the network runs on."
)

training_options = stack(
    click.option("--lr", type=float, help="Peak learning rate.  [default: 0.02 for sgd, 0.001 for adamw]"),
    click.option(
        "--batch-size",
        type=int,
        default=64,
        show_default=True,
        help="Samples in a training step, of all processes together.",
    ),
    click.option(
        "--augment",
        metavar="NAME,...",
        help="How training images are varied: none, or one or more of shift-flip, random-resized-crop, trivial, mixup "
        "and cutmix (compress list augmentations).  [default: shift-flip, as much as suits the data]",
    ),
    click.option(
        "--optimizer",
        type=click.Choice(["sgd", "adamw"]),
        default="sgd",
        show_default=True,
        help="Nesterov SGD or AdamW.",
    ),
    click.option(
        "--schedule",
        type=click.Choice(["cosine", "one-cycle", "step", "constant"]),
        default="cosine",
        show_default=True,
        help="The learning rate after a rise over 1/20 of the training: half a cosine to zero, the same after 3/10, a "
        "tenth and a hundredth from 1/2 and 3/4, or constant.",
    ),
    click.option(
        "--accumulate",
        type=int,
        default=1,
        show_default=True,
        metavar="BATCHES",
        help="Batches whose gradients make one step, where the memory does not hold them together.",
    ),
    click.option(
        "--clip",
        type=float,
        metavar="NORM",
        help="Shorten gradients that are longer than this, all parameters together.",
    ),
    click.option(
        "--ema",
        type=float,
        metavar="DECAY",
        help="End with the moving average of the weights, which decays by this at each step, for example 0.99.",
    ),
    device_option,
    click.option(
        "--devices",
        type=int,
        metavar="N",
        help="Processes that train together on this machine, each on a GPU of its own or all on the CPU.  [default: 1, "
        "or as many as torchrun started]",
    ),
    click.option(
        "--num-nodes",
        type=int,
        metavar="N",
        help="Machines that train together, each with so many --devices: the same command by torchrun on all.  "
        "[default: 1, or as torchrun says]",
    ),
    click.option(
        "--strategy",
        type=click.Choice(["auto", "ddp", "fsdp"]),
        default="auto",
        show_default=True,
        help="How processes train together: auto takes ddp, a whole network on each; in fsdp each holds a part of it.",
    ),
    click.option(
        "--precision",
        type=click.Choice(["auto", "32", "bf16", "16"]),
        default="32",
        show_default=True,
        help="Precision of the arithmetic in training; weights stay in 32 bits. auto measures which is faster here.",
    ),
    click.option(
        "--compile",
        is_flag=True,
        help="Compile the network with torch.compile first: quicker steps after a minute or so.",
    ),
    click.option(
        "--seed",
        type=int,
        default=0,
        show_default=True,
        help="Seed of the order of samples, of augmentation and of random weights.",
    ),
    click.option(
        "--log",
        multiple=True,
        type=click.Choice(["csv", "mlflow", "tensorboard", "wandb"]),
        help="Send the figures of the training there while it runs: loss, learning rate, samples a second, time left. "
        "Files go beside --out; mlflow and wandb go where their environment variables say.",
    ),
    click.option(
        "--checkpoint-every",
        type=int,
        default=1,
        show_default=True,
        metavar="EPOCHS",
        help="How often all that was trained is written to disk, so that the same command goes on from there.",
    ),
    click.option(
        "--checkpoint-steps",
        type=int,
        metavar="STEPS",
        help="Write it also after every so many steps of an epoch, for epochs that take hours.",
    ),
)

teacher_share_option = click.option(
    "--teacher-share",
    type=float,
    help="Share of the loss that is by the teacher's soft labels, the other by the true ones; 0 to 1.  [default: 0.5]",
)

teacher_options = stack(
    click.option("--teacher", metavar="MODEL", help="Checkpoint of a network to imitate, by its soft labels."),
    teacher_share_option,
)

runtime_options = stack(
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
