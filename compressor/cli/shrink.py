"""``compress shrink``: zero channels become removed channels, with proof."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from compressor.cli.command import command
from compressor.cli.console import Console
from compressor.cli.options import data_options, model_options, out_option, overwrite_option


@command("shrink")
@click.argument("model")
@click.option("--align", metavar="auto|N", help="Widths are multiples of it.  [default: as in fine-tune, else auto]")
@data_options
@model_options
@out_option("Checkpoint to write, .pt or .safetensors.  [default: MODEL-small.pt]")
@overwrite_option
def shrink(console: Console, model: str, align: str | None, **options: Any) -> None:
    """Remove zero channels, with proof that no output changes.

    A few zero channels are kept where they fill up an aligned width. Outputs before and after are compared on
    random inputs, and on real ones when the data are known: at most 1e-9 of their scale in float64 and 1e-5 in
    float32, else nothing is written.
    """
    from compressor.checkpoints import SUFFIXES, Network, save
    from compressor.cli.loading import load_network, load_samples
    from compressor.cli.publishing import check_out
    from compressor.costs import count_macs, count_parameters
    from compressor.data.batches import normalized
    from compressor.errors import CompressorError
    from compressor.shrinking import remove_zero_channels

    out = options["out"] or Path(f"{Path(model).stem.removesuffix('-sparse')}-small.pt")
    check_out(out, SUFFIXES, overwrite=options["overwrite"])
    network, real = load_network(model, options), None
    if options["data"] or network.metadata.data:
        network, data = load_samples(console, network, options)
        real = normalized(data.test.images[:16], network.metadata.normalization)
    network.try_input()
    example = network.example_input()
    with console.progress("shrink"):
        removal = remove_zero_channels(
            network.model, example, real_inputs=real, align=align or _align_of(network.metadata.history)
        )
    if removal.removed == 0:
        raise CompressorError(
            f"{model} has no zero channel that can be removed, so nothing was written; "
            "compress fine-tune --target-macs makes them, compress inspect shows the groups"
        )
    save(Network(removal.model, network.metadata.with_stage("shrink", **removal.to_plain())), out,
         overwrite=options["overwrite"])  # fmt: skip
    macs = [count_macs(found, example) for found in (network.model, removal.model)]
    parameters = [count_parameters(found) for found in (network.model, removal.model)]
    document = {
        "out": str(out),
        "removal": removal.to_plain(),
        "channels": dict(removal.channels),
        "macs": macs,
        "parameters": parameters,
    }
    console.result(document, *_tables(document), f"Wrote {out}")


def _align_of(history: Sequence[Mapping[str, Any]]) -> str:
    """The alignment that the zeros were decided with."""
    return next((str(stage["align"]) for stage in reversed(history) if "align" in stage), "auto")


def _tables(document: dict[str, Any]) -> list[Any]:
    from compressor.cli.figures import percent, table

    removal = document["removal"]
    rows = [("channels", removal["channels_total"], removal["channels_total"] - removal["channels_removed"])]
    rows += [("MACs", *document["macs"]), ("parameters", *document["parameters"])]
    return [
        table(
            ("", "before", "after", "kept"),
            [(name, f"{before:,}", f"{after:,}", percent(after / before)) for name, before, after in rows],
        ),
        f"Largest output difference, relative to the output scale: {removal['float64']:.1e} in float64 "
        f"(at most {removal['float64_limit']:g}), {removal['float32']:.1e} in float32 "
        f"(at most {removal['float32_limit']:g}); {removal['inputs']}.",
    ]
