"""What can be removed from a network, what it would cost then, and what stands in the way: as plain data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from compressor.alignment import Alignment
from compressor.checkpoints import Network
from compressor.costs import CostModel
from compressor.groups import ChannelGroup, find_groups, is_zero
from compressor.inspecting.forecast import Forecast
from compressor.inspecting.unlocking import is_output, unlock


def inspect_network(network: Network, alignment: Alignment) -> dict[str, Any]:
    """Every channel group of ``network``, what removing channels can reach, and what would let more go."""
    model, example = network.model, network.example_input()
    groups = find_groups(model, example)
    forecast = Forecast(model, example, groups, alignment)
    prunable = [group.prunable for group in groups]
    unlocked = [unlock(group.excluded) is not None or group.prunable for group in groups]
    return {
        "architecture": network.metadata.architecture.ref,
        "input_shape": list(network.metadata.input_shape),
        "normalization": str(network.metadata.normalization) if network.metadata.normalization else None,
        "classes": list(network.metadata.classes) if network.metadata.classes else None,
        "data": network.metadata.data.ref if network.metadata.data else None,
        "history": [dict(stage) for stage in network.metadata.history],
        "macs": forecast.macs.total(),
        "parameters": forecast.parameters.total(),
        "zero_channels": sum(int(is_zero(model, group).sum()) for group in groups if group.prunable),
        "least_macs": forecast.least(prunable, "macs"),
        "least_parameters": forecast.least(prunable, "params"),
        "least_macs_unlocked": forecast.least(unlocked, "macs") if unlocked != prunable else None,
        "predictions": forecast.predictions(),
        "frozen": _frozen(network),
        "unaligned": _unaligned(groups, forecast.macs, alignment),
        "changes": _changes(groups, forecast),
        "groups": [_described(group, [other is group for other in groups], forecast) for group in groups],
    }


def _described(group: ChannelGroup, alone: Sequence[bool], forecast: Forecast) -> dict[str, Any]:
    return {
        "name": group.name,
        "channels": group.channels,
        "macs": forecast.carried(alone, "macs"),
        "parameters": forecast.carried(alone, "params"),
        "members": [f"{member.module} ({member.role})" for member in group.members],
        "excluded": group.excluded,
        "unlock": unlock(group.excluded),
    }


def _changes(groups: Sequence[ChannelGroup], forecast: Forecast) -> list[dict[str, Any]]:
    """Each change to the network that would unlock groups, those groups, and the MACs that they carry together."""
    wanted = [unlock(group.excluded) for group in groups]
    return [
        {
            "change": change,
            "groups": [group.name for group, other in zip(groups, wanted, strict=True) if other == change],
            "macs": forecast.carried([other == change for other in wanted], "macs"),
        }
        for change in dict.fromkeys(wanted)
        if change is not None
    ]


def _frozen(network: Network) -> list[dict[str, Any]]:
    """Modules that hold parameters which are not trained, and how many numbers these are."""
    found = {
        name: sum(p.numel() for p in module.parameters(recurse=False) if not p.requires_grad)
        for name, module in network.model.named_modules()
    }
    return [{"module": name, "parameters": count} for name, count in found.items() if count]


def _unaligned(groups: Sequence[ChannelGroup], widths: CostModel, alignment: Alignment) -> list[dict[str, Any]]:
    """Layers whose width is no whole step, but for those that make the network's outputs."""
    last = {m.module for group in groups if is_output(group.excluded) for m in group.members if m.role == "producer"}
    layers = [(name, int(width)) for name, width in zip(widths.layers, widths.outputs, strict=True) if name not in last]
    return [
        {"layer": name, "channels": width, "step": alignment.step(width)}
        for name, width in layers
        if width % alignment.step(width)
    ]
