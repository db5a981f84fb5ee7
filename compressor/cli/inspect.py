"""``compress inspect``: what can be removed, what that would bring, and why the rest cannot go."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from compressor.cli.command import command
from compressor.cli.console import Console
from compressor.cli.options import model_options

NAMES = 3


@command("inspect")
@click.argument("model", required=False)
@click.option("--align", metavar="auto|N", default="auto", show_default=True, help="As in fine-tune.")
@model_options
def inspect(console: Console, model: str | None, align: str, **options: Any) -> None:
    """Show what can be removed, and why the rest cannot.

    One row for every channel group: the MACs and parameters of a group are what the network would save if all
    its channels were gone. Then what fine-tune would keep at 75, 50 and 25 % of the MACs, by the weights as they
    are; the least that can be reached; and what to change in the network so that more can go. --json names
    every layer of every group.
    """
    from compressor.alignment import Alignment
    from compressor.cli.loading import load_network
    from compressor.inspecting import inspect_network

    alignment = Alignment.parse(align)
    network = load_network(model, options)
    network.try_input()
    with console.progress("inspect"):
        found = inspect_network(network, alignment)
    console.result(found, *_groups(found), *_reach(found), *_obstacles(found))


def _groups(found: dict[str, Any]) -> list[Any]:
    from compressor.cli.figures import percent, table

    rows = [
        (
            group["name"],
            f"{group['channels']:,}",
            str(len(group["members"])),
            percent(group["macs"] / found["macs"]),
            percent(group["parameters"] / found["parameters"]),
            "yes" if group["excluded"] is None else "no",
        )
        for group in found["groups"]
    ]
    return [
        f"{found['architecture']}, input {'x'.join(map(str, found['input_shape']))}: "
        f"{found['macs']:,} MACs, {found['parameters']:,} parameters, {found['zero_channels']} zero channels.",
        table(("group", "channels", "members", "MACs", "parameters", "prunable"), rows, words=("prunable",)),
        *_left_alone(found["groups"]),
    ]


def _left_alone(groups: Sequence[dict[str, Any]]) -> list[Any]:
    from compressor.cli.figures import table

    names: dict[str, list[str]] = {}
    for group in groups:
        if group["excluded"] is not None:
            names.setdefault(group["excluded"], []).append(group["name"])
    rows = [(_few(of_it), reason) for reason, of_it in names.items()]
    return [table(("not prunable", "because"), rows, words=("because",))] if rows else []


def _reach(found: dict[str, Any]) -> list[Any]:
    from compressor.cli.figures import percent, table

    least = found["least_macs"]
    if least is None:
        return ["Nothing here can be removed."]
    rows = [
        (
            f"{prediction['target']:g}",
            *(
                f"{prediction[kind]:,} ({percent(prediction[kind] / found[kind])})" if prediction[kind] else "-"
                for kind in ("macs", "parameters")
            ),
            f"{sum(prediction['channels'].values()):,}" if prediction["channels"] else "-",
        )
        for prediction in found["predictions"]
    ]
    total = sum(group["channels"] for group in found["groups"] if group["excluded"] is None)
    return [
        table(("--target-macs", "MACs", "parameters", f"channels of {total:,}"), rows),
        f"The least that can be reached is {percent(least / found['macs'])} of the MACs (--target-macs), "
        f"with {percent(found['least_parameters'] / found['parameters'])} of the parameters.",
    ]


def _obstacles(found: dict[str, Any]) -> list[Any]:
    from compressor.cli.figures import percent, table

    lines: list[Any] = []
    if found["changes"]:
        rows = [
            (change["change"], _few(change["groups"]), percent(change["macs"] / found["macs"]))
            for change in found["changes"]
        ]
        lines.append(table(("to remove more", "groups", "MACs"), rows, words=("groups",)))
        least = percent(found["least_macs_unlocked"] / found["macs"])
        lines.append(f"With all of that the least would be {least}, if nothing else then stands in the way.")
    if found["unaligned"]:
        layers = [f"{layer['layer']} ({layer['channels']})" for layer in found["unaligned"]]
        lines.append(f"Widths that are no whole step of --align, so slower than they could be: {_few(layers)}.")
    if found["frozen"]:
        names = [part["module"] or "the network itself" for part in found["frozen"]]
        lines.append(f"Frozen: {sum(p['parameters'] for p in found['frozen']):,} parameters in {_few(names)}.")
    return lines


def _few(names: Sequence[str]) -> str:
    """The first names; ``--json`` lists them all."""
    more = len(names) - NAMES
    return ", ".join(names[:NAMES]) + (f" and {more} more" if more > 0 else "")
