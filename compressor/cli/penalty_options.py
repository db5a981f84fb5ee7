"""The options that say what becomes zero: targets, penalties, and how they reach the weights."""

from __future__ import annotations

import click

from compressor.cli.options import stack
from compressor.cli.parsing import Parsed, one_of, parse_beta, parse_growth, parse_number_pairs, parse_share, parse_size
from compressor.methods import METHODS, TRIALS
from compressor.penalties import GROUP_PENALTIES, PENALTIES
from compressor.saliency import DEFAULT, SALIENCIES

BETA = Parsed("start:end", parse_beta)
METHOD = Parsed("name", one_of("method", METHODS))
SALIENCY = Parsed("name", one_of("saliency", SALIENCIES))
PENALTY = Parsed("name", one_of("penalty", ["none", *PENALTIES]))
GROUP_PENALTY = Parsed("name", one_of("group penalty", ["none", *GROUP_PENALTIES]))
GROWTH = Parsed("factor:epochs", parse_growth)
SHARE = Parsed("share", parse_share)
BYTES = Parsed("size", parse_size)

target_options = stack(
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
)

width_options = stack(
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
    click.option(
        "--trials",
        type=int,
        metavar="N",
        help="How many ways to spread the channels over the layers are tried for a target, each fitted by least "
        f"squares on a few samples; with 0 the saliency alone decides.  [default: {TRIALS}]",
    ),
)

penalty_options = stack(
    click.option(
        "--penalty",
        type=PENALTY,
        metavar="NAME",
        help=f"Penalty on single weights: none, {', '.join(sorted(PENALTIES))}.  "
        "[default: none; l0 for method rvsm, l1 for slimming]",
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
    target_options,
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
        help="Penalise only layers of such names, for example 'layer3.*' (method slimming: norms); may be given "
        "several times.",
    ),
    width_options,
    click.option(
        "--saliency",
        type=SALIENCY,
        metavar="NAME",
        help="Which channels a target keeps: those worth most by the gradients of the training (taylor), by a pass "
        f"over single samples before it (fisher), or by bn-scale, magnitude, random or weights.  [default: {DEFAULT}]",
    ),
)
