"""``compress export``: PyTorch to ONNX, with parity proven."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from compressor.cli.command import command
from compressor.cli.console import Console
from compressor.cli.options import model_options, out_option, overwrite_option


@command("export")
@click.argument("model")
@click.option("--opset", type=int, default=18, show_default=True, help="ONNX opset, 17 to 23.")
@model_options
@out_option("File to write.  [default: MODEL.onnx]")
@overwrite_option
def export(console: Console, model: str, **options: Any) -> None:
    """Write ONNX, with proof that the outputs agree.

    ONNX Runtime must give PyTorch's outputs at batches 1, 2 and 3 and three seeds, within 1e-5 of their scale,
    else nothing is written. Normalisation and class names go into the file, so that
    `compress evaluate FILE.onnx` needs no option.
    """
    from compressor.cli.loading import load_network
    from compressor.cli.publishing import check_out
    from compressor.export import check_opset, describe, export_onnx

    out = options["out"] or Path(f"{Path(model).stem}.onnx")
    check_opset(options["opset"])
    check_out(out, (".onnx",), overwrite=options["overwrite"])
    network = load_network(model, options)
    network.try_input()
    if network.metadata.normalization is None:
        console.warn("the normalisation is not known, so it is not in the file; pass --normalize")
    with console.progress("export"):
        exported = export_onnx(
            network.model,
            network.example_input(),
            out,
            opset=options["opset"],
            metadata=describe(network.metadata),
        )
    if exported.fallback:
        console.warn(f"exported by {exported.exporter}, because {exported.fallback}")
    parity = exported.parity
    console.result(
        {"out": str(out), **exported.to_plain()},
        f"Largest difference from PyTorch, relative to the output scale: {parity.norm_rel:.1e} "
        f"({parity.inputs}; same top class in {100 * parity.top1_agreement:.1f} %).",
        f"Wrote {out} (opset {exported.opset}, {exported.exporter} exporter, {out.stat().st_size:,} bytes)",
    )
