"""``compress costs``: what the layers of a network cost at other widths, for targets in latency."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from compressor.cli.command import command
from compressor.cli.console import Console, percent, table
from compressor.cli.options import model_options, out_option, overwrite_option, runtime_options

if TYPE_CHECKING:
    from compressor.records.costs import Costs, NetworkCosts


@command("costs")
@click.argument("model")
@runtime_options
@click.option("--batch", type=int, default=1, show_default=True, help="Batch size that is timed.")
@click.option(
    "--networks",
    type=int,
    default=12,
    show_default=True,
    help="Whole networks of random widths by which the sum of the layers is fitted and checked, at least 6.",
)
@click.option(
    "--max-seconds", type=float, default=60.0, show_default=True, help="Seconds that measuring latency may take."
)
@model_options
@out_option("File to write, .json.  [default: costs.json]")
@overwrite_option
def costs(console: Console, model: str, **options: Any) -> None:
    """Measure what layers cost at other widths on this machine.

    Every convolution and linear layer is timed by itself in the runtime, at the widths where its staircase has steps.
    Then whole networks of random widths are timed, each foretold without it: the errors of that are shown.
    --target-latency needs such a file, or measures it itself. What an --out that exists knows already, of this machine
    and with the same options, is not measured again: one file serves several networks.

    \b
      compress costs digits_resnet --out costs.json
      compress run digits_resnet --target-latency 0.5 --costs costs.json
    """
    from compressor.cli.loading import load_network
    from compressor.cli.publishing import check_out, wrote
    from compressor.codec import read_costs, write_costs
    from compressor.costs.fitting import LEAST_NETWORKS
    from compressor.errors import UsageError
    from compressor.stages.costs import measure_costs

    out, checks = options["out"] or Path("costs.json"), options["networks"]
    if checks < LEAST_NETWORKS:
        raise UsageError(f"--networks must be at least {LEAST_NETWORKS}, got {checks}")
    check_out(out, (".json",), overwrite=True)
    known = read_costs(out) if out.exists() and not options["overwrite"] else None
    network = load_network(model, options)
    network.try_input()
    settings = {key: options[key] for key in ("threads", "provider", "batch", "max_seconds", "allow_fallback")}
    with console.progress("measure") as progress:
        measured = measure_costs(network, known=known, checks=checks, progress=progress, **settings)
    write_costs(out, measured)
    newest = list(measured.networks.values())[-1]
    console.result(measured, *_tables(measured, newest), wrote(out))


def _tables(measured: Costs, network: NetworkCosts) -> list[Any]:
    points = sum(len(one.inputs) * len(one.outputs) for one in measured.layers)
    rows = [
        (
            percent(check.macs),
            f"{check.predicted:.3f}",
            f"{check.measured:.3f}",
            "{:.3f}–{:.3f}".format(*check.ci95),
            f"{check.error:+.1%}",
        )
        for check in sorted(network.checks, key=lambda check: -check.macs)
    ]
    return [
        table(("MACs", "foretold", "measured", "95 % interval", "error"), rows),
        f"{len(measured.layers)} layers at {points:,} widths and {len(rows)} networks in {measured.duration_s:.0f} s; "
        f"latency relative to dense is foretold within {network.median_error:.1%} (median), "
        f"{network.worst_error:.1%} (worst)",
    ]
