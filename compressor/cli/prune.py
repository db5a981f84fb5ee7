"""``compress prune``: a smaller network without any training."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from compressor.cli.command import command
from compressor.cli.console import Console, metric_text, percent, table
from compressor.cli.options import (
    costs_option,
    data_options,
    model_options,
    out_option,
    overwrite_option,
    runtime_options,
)
from compressor.cli.penalty_options import target_options, width_options

if TYPE_CHECKING:
    from compressor.records.prune import LayerFit, Likeness, Pruning

# Of how many layers the errors are shown.
FURTHEST = 12


@command("prune")
@click.argument("model")
@target_options
@click.option(
    "--samples",
    type=int,
    default=1024,
    show_default=True,
    help="Images of the training part by which layers are fitted; of these, 512 at most choose the channels.",
)
@click.option("--draw-seed", type=int, default=0, show_default=True, help="Seed that draws these images.")
@width_options
@runtime_options
@costs_option
@data_options
@model_options
@out_option("Checkpoint to write, .pt or .safetensors.  [default: MODEL-pruned.pt]")
@overwrite_option
def prune(console: Console, model: str, **options: Any) -> None:
    """Make MODEL smaller without training.

    The channels that the network's own outputs need least are removed. Then every layer, in their order, gets the
    weights with which it comes closest to what it made in the dense network, by least squares on --samples images, and
    BatchNorm is re-estimated. No label is used, and no training. The outputs change: by how much is shown, beside what
    labels of the test part say. The result is a checkpoint like that of shrink, which recover can train on.

    \b
      compress prune digits_resnet --target-macs 0.7
    """
    import msgspec

    from compressor.checkpoints import SUFFIXES, save
    from compressor.checkpoints.rehearsal import rehearse_saving
    from compressor.cli.loading import load_network, load_samples
    from compressor.cli.publishing import check_out, wrote
    from compressor.cli.training import costs_of, require_met
    from compressor.splitting import SplittingConfig
    from compressor.stages.aim import Runtime
    from compressor.stages.prune import prune as work

    asked = (
        "target_macs",
        "target_params",
        "target_latency",
        "target_size",
        "compressed",
        "align",
        "keep_blocks",
        "trials",
    )
    target = SplittingConfig(**{key: options[key] for key in asked})
    out = options["out"] or Path(f"{Path(model).stem}-pruned.pt")
    check_out(out, SUFFIXES, overwrite=options["overwrite"])
    network, data = load_samples(console, load_network(model, options), options, needs_task=False)
    rehearse_saving(network)
    runtime = Runtime(**{key: options[key] for key in ("threads", "provider", "allow_fallback")})
    with console.progress("prune") as progress:
        pruned = work(
            network,
            data,
            target,
            samples=options["samples"],
            seed=options["draw_seed"],
            costs=costs_of(options),
            runtime=runtime,
            progress=progress,
        )
    save(pruned.network, out, overwrite=options["overwrite"])
    for layer, why in pruned.record.left.items():
        console.warn(f"{layer} reads removed channels and was not fitted: {why}")
    document = {"out": str(out), **msgspec.structs.asdict(pruned.record)}
    console.result(document, *_tables(pruned.record), wrote(out))
    require_met(pruned.record.targets, out)


def _tables(record: Pruning) -> list[Any]:
    pairs = {"MACs": record.macs, "parameters": record.parameters}
    costs = [(name, f"{before:,}", f"{after:,}", percent(after / before)) for name, (before, after) in pairs.items()]
    steps = [("channels removed", record.removed), ("layers fitted", record.fitted)]
    heading = [] if record.dense is None else [f"test {record.dense.name}"]
    same = [] if record.fitted.agreement is None else ["same class"]
    dense = [metric_text(record.dense)] if record.dense is not None else []
    likenesses = [(name, *_likeness(one), f"{one.change:.3f}") for name, one in steps]
    return [
        table(("", "before", "after", "kept"), costs),
        table(
            ("", *heading, *same, "change"),
            [("dense", *dense, *("" for _ in same), ""), *likenesses],
        ),
        f"{'Same class: as the dense network; change' if same else 'Change'}: of the outputs, relative to their size.",
        *([str(record.trials)] if record.trials is not None else []),
        *_fit_table(record.fits),
    ]


def _likeness(one: Likeness) -> list[str]:
    """What there is of metric and classes."""
    metric = [] if one.metric is None else [metric_text(one.metric)]
    return metric if one.agreement is None else [*metric, percent(one.agreement)]


def _fit_table(fits: Sequence[LayerFit]) -> list[Any]:
    """The layers that are furthest from what they made, in their order."""
    furthest = sorted(fits, key=lambda one: -one.after)[:FURTHEST]
    rows = [(one.layer, percent(one.before), percent(one.after)) for one in fits if one in furthest]
    others = len(fits) - len(rows)
    more = [f"{others} other layers are closer (--json has all)."] if others else []
    return [table(("squared error of layers", "before fitting", "after"), rows), *more] if rows else []
