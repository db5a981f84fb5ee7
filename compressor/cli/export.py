"""``compress export``: PyTorch to ONNX or to a torch.export program, and the outputs are compared."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from compressor.cli.command import command
from compressor.cli.console import Console
from compressor.cli.options import data_options, model_options, out_option, overwrite_option
from compressor.errors import UsageError

if TYPE_CHECKING:
    from compressor.records.run import Export
    from compressor.stages.export import Format


@command("export")
@click.argument("model")
@click.option(
    "--format",
    "kind",
    type=click.Choice(["onnx", "pt2"]),
    default="onnx",
    show_default=True,
    help="An ONNX file, or a torch.export program.",
)
@click.option("--opset", type=int, default=18, show_default=True, help="Version of the ONNX operator set, 17 to 23.")
@data_options
@model_options
@out_option("File to write.  [default: MODEL.onnx or MODEL.pt2]")
@overwrite_option
def export(console: Console, model: str, kind: Format, **options: Any) -> None:
    """Write ONNX or pt2, and check that its outputs are PyTorch's.

    The file must give PyTorch's outputs within 1e-5 of their scale, for batches of 1, 2 and 3 random inputs and three
    seeds, and on real samples when the data are known; otherwise nothing is written. Normalisation and class names go
    into the file, so that `compress evaluate FILE.onnx` needs no option.

    A pt2 file is for torch.export.load, which may unpickle: load one only from people you trust. This tool writes such
    files and never reads any.
    """
    import msgspec

    from compressor.cli.loading import load_known_samples, load_network
    from compressor.cli.publishing import check_out
    from compressor.export import check_opset
    from compressor.stages.export import export as work

    out = options["out"] or Path(f"{Path(model).stem}.{kind}")
    asked = click.get_current_context().get_parameter_source("opset") is not ParameterSource.DEFAULT
    if asked and kind != "onnx":
        raise UsageError("--opset is for --format onnx; a torch.export program has none")
    check_opset(options["opset"])
    check_out(out, (f".{kind}",), overwrite=options["overwrite"])
    network = load_network(model, options)
    network.try_input()
    network, data = load_known_samples(console, network, options)
    if network.metadata.normalization is None and not network.metadata.examples:
        console.warn("the normalisation is not known, so the file does not hold it; pass --normalize")
    with console.progress("export"):
        record = work(network, out, data, format=kind, opset=options["opset"])
    if record.fallback:
        console.warn(f"exported by {record.exporter}, because {record.fallback}")
    if record.cast_from:
        console.warn(f"the network computes in {record.cast_from}, the file in float32 with the same weights")
    console.result(
        {"out": str(out), "format": kind, **msgspec.structs.asdict(record)},
        _parity(record),
        f"Wrote {out} ({_origin(record)}, {out.stat().st_size:,} bytes)",
    )


def _parity(record: Export) -> str:
    parity = record.parity
    agree = "" if parity.top1_agreement is None else f"; same top class in {100 * parity.top1_agreement:.1f} %"
    return (
        "Largest difference from PyTorch, relative to the output scale: "
        f"{parity.norm_rel:.1e} ({parity.inputs}{agree})."
    )


def _origin(record: Export) -> str:
    if record.opset is None:
        return f"torch.export of torch {record.torch}"
    return f"opset {record.opset}, {record.exporter} exporter"
