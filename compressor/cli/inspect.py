"""``compress inspect``: channel groups, what is prunable and why not."""

from __future__ import annotations

from typing import Any

import click

from compressor.cli.command import command
from compressor.cli.console import Console
from compressor.cli.options import model_options

MEMBERS = 4


@command("inspect")
@click.argument("model", required=False)
@click.option("--align", metavar="auto|N", default="auto", show_default=True, help="As in fine-tune.")
@model_options
def inspect(console: Console, model: str | None, align: str, **options: Any) -> None:
    """Show what can be removed, and why the rest cannot.

    One row for every channel group: its channels, the MACs it carries, its members (all of them with --json).
    The MACs of a group are what the network would save if all its channels were gone.
    """
    from compressor.alignment import Alignment
    from compressor.cli.loading import load_network
    from compressor.inspecting import inspect_network

    alignment = Alignment.parse(align)
    network = load_network(model, options)
    network.try_input()
    with console.progress("inspect"):
        found = inspect_network(network, alignment)
    console.result(found, *_tables(found))


def _members(members: list[str]) -> str:
    """A residual stage has dozens; ``--json`` lists them all."""
    more = len(members) - MEMBERS
    return ", ".join(members[:MEMBERS]) + (f" and {more} more" if more > 0 else "")


def _tables(found: dict[str, Any]) -> list[Any]:
    from compressor.cli.figures import percent, table

    rows = [
        (
            group["name"],
            str(group["channels"]),
            percent(group["macs"] / found["macs"]),
            "yes" if group["excluded"] is None else f"no: {group['excluded']}",
            _members(group["members"]),
        )
        for group in found["groups"]
    ]
    least = found["least_macs"]
    return [
        f"{found['architecture']}, input {'x'.join(map(str, found['input_shape']))}: "
        f"{found['macs']:,} MACs, {found['parameters']:,} parameters, {found['zero_channels']} zero channels.",
        table(("group", "channels", "MACs", "prunable", "members"), rows, words=("members",)),
        "Nothing here can be removed."
        if least is None
        else f"The least that can be reached is {percent(least / found['macs'])} of the MACs (--target-macs).",
    ]
