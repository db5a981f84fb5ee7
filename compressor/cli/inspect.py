"""``compress inspect``: what can be removed, what that would bring, and why the rest cannot go."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from compressor.cli.command import command
from compressor.cli.console import Console, percent, table
from compressor.cli.options import model_options

if TYPE_CHECKING:
    from compressor.records.stages import GroupReport, Inspection, Prediction

NAMES = 3
NETWORK = "the network itself"


@command("inspect")
@click.argument("model", required=False)
@click.option(
    "--align",
    metavar="auto|N",
    default="auto",
    show_default=True,
    help="Round kept channels up to multiples of N; auto: of 8, or of 4 in narrow layers.",
)
@click.option(
    "--keep-blocks", is_flag=True, help="Keep channels in every residual block; else a target may drop whole blocks."
)
@click.option(
    "--measure-widths",
    is_flag=True,
    help="Time the layers whose widths are off the runtime's fast path, at their width and at whole steps beside it.",
)
@model_options
def inspect(
    console: Console, model: str | None, align: str, keep_blocks: bool, measure_widths: bool, **options: Any
) -> None:
    """Show which channels can be removed, and why others cannot.

    A group is the channels of all layers that can only be removed together. Its multiply-accumulates (MACs) and
    parameters are what the network would save if all channels of the group were gone. Below that: what fine-tune would
    keep at targets of 75, 50 and 25 % of the MACs, by the weights as they are now; the least that can be reached; and
    what to change in the network so that more can be removed. --json names every layer of every group.
    """
    from compressor.alignment import Alignment
    from compressor.cli.loading import load_network
    from compressor.stages.inspect import inspect as work

    Alignment.parse(align)  # a wrong one is told before anything is loaded
    network = load_network(model, options)
    network.try_input()
    with console.progress("inspect") as progress:
        record = work(network, align=align, keep_blocks=keep_blocks, measure_widths=measure_widths, progress=progress)
    console.result(record, *_groups(record), *_reach(record), *_obstacles(record), *_off_fast_path(record))


def _groups(record: Inspection) -> list[Any]:
    rows = [
        (
            group.name,
            f"{group.channels:,}",
            str(len(group.members)),
            percent(group.macs / record.macs),
            percent(group.parameters / record.parameters),
            "yes" if group.excluded is None else "no",
        )
        for group in record.groups
    ]
    counted = f", outputs {', '.join(record.outputs)}" if record.outputs else ""
    return [
        f"{record.architecture}, input {'; '.join(record.inputs) or 'x'.join(map(str, record.input_shape))}{counted}: "
        f"{record.macs:,} MACs, {record.parameters:,} parameters, {record.zero_channels} zero channels.",
        *_fed(record),
        table(("group", "channels", "members", "MACs", "parameters", "prunable"), rows, words=("prunable",)),
        *_tied(record.groups),
        *_branches(record.groups),
        *_left_alone(record.groups),
    ]


def _fed(record: Inspection) -> list[str]:
    """What an image has to go through before the network gets it."""
    if len(record.input_shape) != 3 or record.normalization is None:
        return []
    size = "x".join(map(str, record.input_shape[1:]))
    resized = f"resized to {size} as a whole ({record.resize}, antialiased), " if record.resize else ""
    normalised = f" and normalised by {record.normalization}" if record.normalization != "none" else ""
    return [f"Images are {resized}divided by 255{normalised}."]


def _tied(groups: Sequence[GroupReport]) -> list[str]:
    together: dict[str, list[str]] = {}
    for group in groups:
        if group.tie is not None and group.excluded is None:
            together.setdefault(group.tie, []).append(group.name)
    return [f"Always lose equally many channels: {_few(names)}." for names in together.values()]


def _branches(groups: Sequence[GroupReport]) -> list[str]:
    names = list(dict.fromkeys(group.branch for group in groups if group.branch is not None))
    return [f"May go as a whole: {len(names)} residual block{'s'[: len(names) > 1]}, {_few(names)}."] if names else []


def _left_alone(groups: Sequence[GroupReport]) -> list[Any]:
    names: dict[str, list[str]] = {}
    for group in groups:
        if group.excluded is not None:
            names.setdefault(group.excluded, []).append(group.name)
    rows = [(_few(of_it), reason) for reason, of_it in names.items()]
    return [table(("not prunable", "because"), rows, words=("because",))] if rows else []


def _reach(record: Inspection) -> list[Any]:
    if record.least_macs is None or record.least_parameters is None:
        return ["No channel of this network can be removed."]
    rows = [_prediction_row(prediction, record) for prediction in record.predictions]
    total = sum(group.channels for group in record.groups if group.excluded is None)
    return [
        table(("--target-macs", "MACs", "parameters", f"channels of {total:,}"), rows),
        f"The least that can be reached is {percent(record.least_macs / record.macs)} of the MACs (--target-macs), "
        f"with {percent(record.least_parameters / record.parameters)} of the parameters.",
    ]


def _prediction_row(prediction: Prediction, record: Inspection) -> tuple[str, ...]:
    pairs = ((prediction.macs, record.macs), (prediction.parameters, record.parameters))
    return (
        f"{prediction.target:g}",
        *(f"{kept:,} ({percent(kept / whole)})" if kept else "-" for kept, whole in pairs),
        f"{sum(prediction.channels.values()):,}" if prediction.channels else "-",
    )


def _obstacles(record: Inspection) -> list[Any]:
    lines: list[Any] = []
    if record.changes and record.least_macs_with_changes is not None:
        rows = [(change.change, _few(change.groups), percent(change.macs / record.macs)) for change in record.changes]
        lines.append(table(("to remove more", "groups", "MACs"), rows, words=("groups",)))
        # Channels that a norm has made one are no more by any forecast.
        if record.least_macs is None or record.least_macs_with_changes < record.least_macs:
            least = percent(record.least_macs_with_changes / record.macs)
            lines.append(f"With all of that the least would be {least}, if nothing else then stands in the way.")
    lines += _control_flow(record)
    if record.frozen:
        names = [part.module or NETWORK for part in record.frozen]
        lines.append(f"Frozen: {sum(part.parameters for part in record.frozen):,} parameters in {_few(names)}.")
    return lines


def _off_fast_path(record: Inspection) -> list[Any]:
    from compressor.report.alignment import rule, snapped
    from compressor.report.format import microseconds

    if not record.off_fast_path:
        return []
    if all(layer.us is None for layer in record.off_fast_path):
        groups = [f"{layer.name} ({layer.channels})" for layer in record.off_fast_path]
        return [f"Widths off the runtime's fast path: {_few(groups)}; --measure-widths times them."]
    rows = [
        (layer.name, f"{layer.channels:,}", rule(layer), microseconds(layer.us), *snapped(layer))
        for layer in record.off_fast_path
    ]
    return [table(("off the fast path", "channels", "rule", "µs", "down", "up"), rows, words=("rule", "down", "up"))]


def _control_flow(record: Inspection) -> list[str]:
    flow, lines = record.control_flow, []
    if flow is None:
        return []
    if flow.decides:
        places = [f"{name or NETWORK} ({line})" for name, line in flow.decides.items()]
        lines.append(f"Decides by values of the input which way to go: {_few(places)}.")
    if flow.random:
        lines.append(
            f"Draws random numbers in evaluation too: {_few([name or NETWORK for name in flow.random])}; "
            "outputs are compared with the same draws."
        )
    if flow.idle:
        lines.append(f"Never ran on the example, so nothing is known of their channels: {_few(flow.idle)}.")
    return lines


def _few(names: Sequence[str]) -> str:
    """The first names; ``--json`` lists them all."""
    more = len(names) - NAMES
    return ", ".join(names[:NAMES]) + (f" and {more} more" if more > 0 else "")
