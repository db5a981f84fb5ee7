"""What a network takes in the runtime at other widths: measured layer by layer, and checked on whole networks."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from torch import nn

from compressor.alignment import Alignment
from compressor.benchmarking import benchmark, check_settings
from compressor.benchmarking.environment import describe, load_average
from compressor.benchmarking.layer_times import Widths, layer_costs
from compressor.benchmarking.load import busy_processors
from compressor.channels import shared_places, ties
from compressor.checkpoints import Network
from compressor.costs.curves import grid
from compressor.costs.fitting import UNIT, fitted
from compressor.costs.latency import TimedRows, timed_rows
from compressor.equivalence import Inputs
from compressor.errors import UsageError
from compressor.export import export_onnx
from compressor.groups import ChannelGroup, find_groups
from compressor.processor import channel_block
from compressor.progress import Progress, silent
from compressor.records.benchmark import BenchmarkSettings, Comparison, Environment
from compressor.records.costs import Costs, Layer, LayerCosts
from compressor.surgery import remove

# Whole networks of random widths by which the sum of the layers is fitted and checked.
CHECKS = 12
# The shares of the progress: layers, whole networks.
LAYERS, NETWORKS = 0.4, 0.6
# How much of a group a random network keeps: about one share for all, which differs from group to group.
LEAST_SHARE, SCATTER = 0.1, 0.25


def measure_costs(
    network: Network,
    groups: Sequence[ChannelGroup] | None = None,
    *,
    threads: int = 1,
    provider: str = "cpu",
    batch: int = 1,
    checks: int = CHECKS,
    max_seconds: float = 60.0,
    seed: int = 0,
    allow_fallback: bool = False,
    known: Costs | None = None,
    progress: Progress | None = None,
) -> Costs:
    """Measure what ``network`` costs at other widths; what is ``known`` of the same machine is not measured again.

    Whole networks are timed for ``max_seconds``. Raises `UsageError` for settings that cannot be timed, for costs
    that are those of another machine, and where no channel can be removed.
    """
    tell, began, clock = progress or silent, datetime.now(UTC), time.monotonic()
    settings = BenchmarkSettings(
        provider=provider,
        threads=threads,
        batches=(batch,),
        pairs=6,
        rounds=4,
        seed=seed,
        max_seconds=max_seconds,
        allow_fallback=allow_fallback,
    )
    check_settings(settings)
    load, busy = load_average(), busy_processors()
    example, model = network.example_input(), network.model
    groups = [group for group in (find_groups(model, example) if groups is None else groups) if group.prunable]
    if not groups:
        raise UsageError("no channel of this network can be removed, so it has no other widths to measure")
    environment = describe(load, busy)
    if known is not None:
        require_same(known, environment, settings)
    rows, block = timed_rows(model, example, groups), channel_block() if known is None else known.block
    layers = {one.layer: one for one in known.layers} if known is not None else {}
    missing = {
        layer: widths for layer, widths in _widths(rows, block).items() if not _covers(layers.get(layer), widths)
    }
    new = layer_costs(
        missing, batch=batch, settings=settings, on_progress=lambda share, text: tell(LAYERS * share, text)
    )
    layers |= {one.layer: one for one in new}
    fits = {key: fit for key, fit in known.networks.items() if key != rows.key} if known is not None else {}
    kept, comparisons, dense_us = _timed_networks(
        network.model, example, groups, Alignment(None, block), checks, settings, tell
    )
    fits[rows.key] = fitted(rows.model(tuple(layers.values()), block, UNIT), kept, comparisons, dense_us)
    return Costs(
        started=began.isoformat(timespec="seconds"),
        duration_s=round(time.monotonic() - clock, 1),
        environment=environment,
        provider=provider,
        threads=threads,
        batch=batch,
        block=block,
        layers=tuple(layers.values()),
        networks=fits,
    )


def require_same(known: Costs, here: Environment, settings: BenchmarkSettings) -> None:
    """Raise `UsageError` when ``known`` costs are not those of this machine and these settings."""
    for what, theirs, ours in (
        ("processor", known.environment.cpu_model, here.cpu_model),
        ("ONNX Runtime", known.environment.onnxruntime, here.onnxruntime),
        ("--provider", known.provider, settings.provider),
        ("--threads", known.threads, settings.threads),
        ("--batch", known.batch, settings.batches[0]),
    ):
        if theirs != ours:
            raise UsageError(f"the costs are those of {what} {theirs}, not {ours}; give another file for these")


def _widths(rows: TimedRows, block: int) -> dict[Layer, Widths]:
    """At which inputs and outputs each layer is measured: those between which it can be pruned."""
    found: dict[Layer, Widths] = {}
    for row, calls in rows.layers.items():
        sides = []
        for whole, lost in (
            (rows.macs.inputs[row], rows.macs.inputs_per_channel[row]),
            (rows.macs.outputs[row], rows.macs.outputs_per_channel[row]),
        ):
            sides.append(grid(int(whole), block) if lost.any() else (int(whole),))
        for layer in calls:
            one, other = found.get(layer, ((), ()))
            found[layer] = (tuple(sorted({*one, *sides[0]})), tuple(sorted({*other, *sides[1]})))
    return found


def _covers(known: LayerCosts | None, widths: Widths) -> bool:
    return known is not None and {*known.inputs} >= {*widths[0]} and {*known.outputs} >= {*widths[1]}


def _timed_networks(
    model: nn.Module,
    example: Inputs,
    groups: Sequence[ChannelGroup],
    align: Alignment,
    count: int,
    settings: BenchmarkSettings,
    tell: Progress,
) -> tuple[list[list[int]], tuple[Comparison, ...], float]:
    """Channels by group of random networks, how each compares with the dense one, and the microseconds of that."""
    random, chosen = np.random.default_rng(settings.seed), list[list[int]]()
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder) / "dense.onnx"]
        export_onnx(model, example, files[0])
        for number in range(count):
            tell(LAYERS + NETWORKS * 0.5 * number / count, f"network {number + 1} of {count}")
            chosen.append(_random_widths(groups, align, random))
            gone = {
                group.name: sorted(random.permutation(group.channels)[kept:].tolist())
                for group, kept in zip(groups, chosen[-1], strict=True)
            }
            files.append(Path(folder) / f"{number}.onnx")
            export_onnx(remove(model, groups, gone, example), example, files[-1])
        report = benchmark(
            files,
            batches=settings.batches,
            threads=settings.threads,
            provider=settings.provider,
            pairs=settings.pairs,
            rounds=settings.rounds,
            max_seconds=settings.max_seconds,
            seed=settings.seed,
            allow_fallback=settings.allow_fallback,
            details=False,
            progress=lambda share, text: tell(LAYERS + NETWORKS * (0.5 + 0.5 * share), text),
        )
    return chosen, report.comparisons, 1000 * report.variants[0].latency[0].p50_ms


def _random_widths(groups: Sequence[ChannelGroup], align: Alignment, random: np.random.Generator) -> list[int]:
    share, kept = random.uniform(LEAST_SHARE, 1), [0] * len(groups)
    for tie in ties(groups):
        one = groups[tie[0]]
        levels = align.levels(one.channels, shared_places([groups[place] for place in tie]))
        its = float(np.clip(share + SCATTER * random.standard_normal(), 0, 1)) * one.channels
        nearest = min(levels, key=lambda level: abs(level - its))
        for place in tie:
            kept[place] = nearest
    return kept
