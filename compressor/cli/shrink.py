"""``compress shrink``: zero channels become removed channels, and the outputs are compared."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from compressor.cli.command import command
from compressor.cli.console import Console, percent, table
from compressor.cli.options import data_options, model_options, out_option, overwrite_option

if TYPE_CHECKING:
    from compressor.records.stages import Shrinking


@command("shrink")
@click.argument("model")
@click.option(
    "--align",
    metavar="auto|N",
    help="Round kept channels up to multiples of N; auto: of 8, or of 4 in narrow layers.  "
    "[default: as in fine-tune, else auto]",
)
@data_options
@model_options
@out_option("Checkpoint to write, .pt or .safetensors.  [default: MODEL-shrunk.pt]")
@overwrite_option
def shrink(console: Console, model: str, align: str | None, **options: Any) -> None:
    """Remove zero channels, and check that the outputs stay equal.

    A few zero channels are kept where they fill up a width that runs fast (--align). The outputs before and after are
    compared on random inputs, and on real ones when the data are known. They may differ by 1e-9 of their scale in
    float64 and by 1e-5 in float32; otherwise nothing is written.
    """
    import msgspec

    from compressor.checkpoints import SUFFIXES, save
    from compressor.cli.loading import load_known_samples, load_network
    from compressor.cli.publishing import check_out, wrote
    from compressor.errors import CompressorError
    from compressor.stages.shrink import shrink as work

    out = options["out"] or Path(f"{Path(model).stem.removesuffix('-sparse')}-shrunk.pt")
    check_out(out, SUFFIXES, overwrite=options["overwrite"])
    network, data = load_known_samples(console, load_network(model, options), options)
    network.try_input()
    with console.progress("shrink"):
        shrunk = work(network, data, align=align)
    if shrunk.record.removal.channels_removed == 0:
        raise CompressorError(
            f"{model} has no zero channel that can be removed, so nothing was written; "
            "compress fine-tune --target-macs makes such channels, and compress inspect shows where they can be"
        )
    save(shrunk.network, out, overwrite=options["overwrite"])
    document = {"out": str(out), **msgspec.structs.asdict(shrunk.record)}
    console.result(document, *_tables(shrunk.record), wrote(out))


def _tables(record: Shrinking) -> list[Any]:
    removal = record.removal
    channels = removal.channels_total, removal.channels_total - removal.channels_removed
    rows = [("channels", *channels), ("MACs", *record.macs), ("parameters", *record.parameters)]
    exact = "not in float64, which the network's code does not take, "
    if removal.float64 is not None:
        exact = f"{removal.float64:.1e} in float64 (at most {removal.float64_limit:g}), "
    return [
        table(
            ("", "before", "after", "kept"),
            [(name, f"{before:,}", f"{after:,}", percent(after / before)) for name, before, after in rows],
        ),
        f"Largest output difference, relative to the output scale: {exact}{removal.float32:.1e} in float32 "
        f"(at most {removal.float32_limit:g}); {removal.inputs}.",
    ]
