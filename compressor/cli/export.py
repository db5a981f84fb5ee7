"""``compress export``: PyTorch to ONNX or to a torch.export program, with parity proven."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from compressor.cli.command import command
from compressor.cli.console import Console
from compressor.cli.options import model_options, out_option, overwrite_option
from compressor.errors import UsageError

if TYPE_CHECKING:
    from compressor.checkpoints import Network


@command("export")
@click.argument("model")
@click.option(
    "--format",
    "kind",
    type=click.Choice(["onnx", "pt2"]),
    default="onnx",
    show_default=True,
    help="ONNX, or a torch.export program.",
)
@click.option("--opset", type=int, default=18, show_default=True, help="ONNX opset, 17 to 23.")
@model_options
@out_option("File to write.  [default: MODEL.onnx or MODEL.pt2]")
@overwrite_option
def export(console: Console, model: str, kind: str, **options: Any) -> None:
    """Write ONNX or pt2, with proof that the outputs agree.

    The file must give PyTorch's outputs at batches 1, 2 and 3 and three seeds, within 1e-5 of their scale, else
    nothing is written. Normalisation and class names go into the file, so that `compress evaluate FILE.onnx` needs
    no option. A pt2 file is for torch.export.load, which may unpickle: load one only from people you trust. This
    tool writes such files and never reads any.
    """
    from compressor.cli.loading import load_network
    from compressor.cli.publishing import check_out
    from compressor.export import check_opset

    out = options["out"] or Path(f"{Path(model).stem}.{kind}")
    asked = click.get_current_context().get_parameter_source("opset") is not ParameterSource.DEFAULT
    if asked and kind != "onnx":
        raise UsageError("--opset is for --format onnx; a torch.export program has none")
    check_opset(options["opset"])
    check_out(out, (f".{kind}",), overwrite=options["overwrite"])
    network = load_network(model, options)
    network.try_input()
    if network.metadata.normalization is None:
        console.warn("the normalisation is not known, so it is not in the file; pass --normalize")
    with console.progress("export"):
        exported, what = _onnx(console, network, out, options["opset"]) if kind == "onnx" else _program(network, out)
    parity = exported["parity"]
    console.result(
        {"out": str(out), "format": kind, **exported},
        f"Largest difference from PyTorch, relative to the output scale: {parity['norm_rel']:.1e} "
        f"({parity['inputs']}; same top class in {100 * parity['top1_agreement']:.1f} %).",
        f"Wrote {out} ({what}, {out.stat().st_size:,} bytes)",
    )


def _onnx(console: Console, network: Network, out: Path, opset: int) -> tuple[dict[str, Any], str]:
    from compressor.export import describe, export_onnx

    exported = export_onnx(
        network.model,
        network.example_input(),
        out,
        opset=opset,
        metadata=describe(network.metadata),
    )
    if exported.fallback:
        console.warn(f"exported by {exported.exporter}, because {exported.fallback}")
    return exported.to_plain(), f"opset {exported.opset}, {exported.exporter} exporter"


def _program(network: Network, out: Path) -> tuple[dict[str, Any], str]:
    from compressor.export import describe
    from compressor.export.program import export_program

    exported = export_program(network.model, network.example_input(), out, metadata=describe(network.metadata))
    return exported.to_plain(), f"torch.export of torch {exported.to_plain()['torch']}"
