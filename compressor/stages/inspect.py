"""What can be removed from a network, what it would cost then, and what stands in the way."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from compressor.alignment import Alignment
from compressor.channels import within
from compressor.checkpoints import Network
from compressor.costs import CostModel
from compressor.equivalence import Inputs
from compressor.forecast import Forecast
from compressor.groups import ChannelGroup, find_groups, is_zero
from compressor.groups.advice import advice, is_output
from compressor.groups.control_flow import ControlFlow
from compressor.groups.training_only import training_switches
from compressor.inputs import described
from compressor.products import is_product
from compressor.progress import Progress, silent
from compressor.records.stages import Change, ControlFlowReport, FrozenModule, GroupReport, Inspection, UnevenWidth
from compressor.stages.fast_path import off_fast_path


def inspect(
    network: Network,
    *,
    align: str | int = "auto",
    keep_blocks: bool = False,
    groups: Sequence[ChannelGroup] | None = None,
    measure_widths: bool = False,
    progress: Progress = silent,
) -> Inspection:
    """Every channel group of ``network``, what removing channels can reach, and what would let more go.

    ``align`` and ``keep_blocks`` are as in `SplittingConfig`; ``groups`` saves finding them again. ``measure_widths``
    times layers whose widths the runtime does not reward, and the whole steps beside them.
    """
    alignment, model, example, known = Alignment.parse(align), network.model, network.example_input(), network.metadata
    groups = find_groups(model, example) if groups is None else groups
    forecast = Forecast(model, example, groups, alignment, keep_blocks=keep_blocks)
    prunable = [group.prunable for group in groups]
    with_changes = [advice(group.excluded) is not None or group.prunable for group in groups]
    return Inspection(
        architecture=known.architecture.ref,
        input_shape=tuple(known.input_shape),
        inputs=tuple(described(model, one) for one in known.examples),
        outputs=known.outputs,
        normalization=str(known.normalization) if known.normalization else None,
        classes=known.classes or None,
        data=known.data.ref if known.data else None,
        resize=known.resize,
        history=known.history,
        macs=forecast.macs.total(),
        parameters=forecast.parameters.total(),
        zero_channels=sum(int(is_zero(model, group).sum()) for group in groups if group.prunable),
        least_macs=forecast.least(prunable, "macs"),
        least_parameters=forecast.least(prunable, "params"),
        least_macs_with_changes=forecast.least(with_changes, "macs") if with_changes != prunable else None,
        predictions=forecast.predictions(),
        frozen=_frozen(network),
        unaligned=_unaligned(groups, forecast.macs, alignment),
        changes=_changes(groups, forecast),
        groups=tuple(_reported(group, [other is group for other in groups], forecast) for group in groups),
        control_flow=_control_flow(model, example),
        off_fast_path=off_fast_path(model, example, groups, forecast.macs, measure=measure_widths, progress=progress),
    )


def _control_flow(model: nn.Module, example: Inputs) -> ControlFlowReport:
    flow, switches = ControlFlow(model, example), training_switches(model, example)
    holders = [name for name, module in model.named_modules() if next(module.parameters(False), None) is not None]
    idle = [
        name
        for name in holders
        if name not in flow.ran and not any(not switch or within(name, switch) for switch in switches)
    ]
    return ControlFlowReport(decides=dict(flow.decides), random=tuple(sorted(flow.random)), idle=tuple(idle))


def _reported(group: ChannelGroup, alone: Sequence[bool], forecast: Forecast) -> GroupReport:
    return GroupReport(
        name=group.name,
        channels=group.channels,
        macs=forecast.carried(alone, "macs"),
        parameters=forecast.carried(alone, "params"),
        members=tuple(f"{member.module} ({member.role})" for member in group.members),
        excluded=group.excluded,
        advice=advice(group.excluded),
        tie=group.tie,
        branch=group.branch.name if group.branch is not None else None,
    )


def _changes(groups: Sequence[ChannelGroup], forecast: Forecast) -> tuple[Change, ...]:
    advised = [advice(group.excluded) for group in groups]
    return tuple(
        Change(
            change=change,
            groups=tuple(group.name for group, other in zip(groups, advised, strict=True) if other == change),
            macs=forecast.carried([other == change for other in advised], "macs"),
        )
        for change in dict.fromkeys(advised)
        if change is not None
    )


def _frozen(network: Network) -> tuple[FrozenModule, ...]:
    counts = {
        name: sum(p.numel() for p in module.parameters(recurse=False) if not p.requires_grad)
        for name, module in network.model.named_modules()
    }
    return tuple(FrozenModule(module=name, parameters=count) for name, count in counts.items() if count)


def _unaligned(groups: Sequence[ChannelGroup], widths: CostModel, alignment: Alignment) -> tuple[UnevenWidth, ...]:
    """Layers whose width is no whole step, but for those that make the network's outputs."""
    last = {m.module for group in groups if is_output(group.excluded) for m in group.members if m.role == "producer"}
    known = zip(widths.layers, widths.outputs, strict=True)
    layers = [(name, int(width)) for name, width in known if name not in last and not is_product(name)]
    return tuple(
        UnevenWidth(layer=name, channels=width, step=alignment.step(width))
        for name, width in layers
        if width % alignment.step(width)
    )
