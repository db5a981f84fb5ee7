"""``compress benchmark``: latency and size of ONNX files, side by side."""

from __future__ import annotations

from itertools import chain
from pathlib import Path
from typing import Any

import click

from compressor.cli.command import command
from compressor.cli.console import Console
from compressor.cli.options import out_option, overwrite_option, runtime_options
from compressor.cli.parsing import Parsed, parse_integers

BATCHES = Parsed("batches", parse_integers)


@command("benchmark")
@click.argument("files", metavar="A.onnx [B.onnx ...]", nargs=-1, required=True)
@click.option("--batches", "--batch", "batches", type=BATCHES, metavar="N,N,...", multiple=True, default=("1",),
              show_default=True, callback=lambda ctx, option, lists: tuple(chain.from_iterable(lists)),
              help="Batch sizes; with several, items a second and memory are measured at each too.")  # fmt: skip
@runtime_options
@click.option(
    "--max-seconds", type=float, default=60.0, show_default=True, help="Seconds that measuring latency may take."
)
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of the inputs and of the order of calls.")
@out_option("Report to write, .json; .html and .md go beside it.")
@overwrite_option
def benchmark(console: Console, files: tuple[str, ...], out: Path | None, overwrite: bool, **settings: Any) -> None:
    """Measure latency and size of ONNX files, side by side.

    The first file is the baseline. All files are timed in turns, in several fresh sessions, and a second copy of the
    baseline is timed with them as a control: how much it seems to differ from the first is the noise floor. A file is
    called faster or slower only when the 95 % interval of the ratio lies beyond that.
    """
    from msgspec.structs import replace

    from compressor.benchmarking import benchmark as measure
    from compressor.cli.publishing import check_report_path, show
    from compressor.report.alignment import alignment_table
    from compressor.report.benchmark_tables import latency_table
    from compressor.report.operators import operator_table
    from compressor.report.providers import provider_table
    from compressor.report.publishing import publish
    from compressor.report.terminal import FittedTable
    from compressor.report.throughput import throughput_table

    if out is not None:
        check_report_path(out, overwrite=overwrite)
    with console.progress("benchmark") as progress:
        report = measure(files, progress=progress, **settings)
    report = replace(report, warnings=console.with_printed(report.warnings))
    written = [f"Wrote {', '.join(map(str, publish(report, out)))}"] if out is not None else []
    drawn = (throughput_table, operator_table, provider_table, alignment_table)
    tables = [table for draw in drawn if (table := draw(report)).rows]
    show(console, report, latency_table(report), *map(FittedTable, tables), *written)
