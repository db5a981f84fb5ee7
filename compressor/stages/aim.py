"""At which widths a target in latency or bytes is met: foretold, exported, measured, and corrected."""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from msgspec.structs import replace
from torch import Tensor, nn

from compressor.benchmarking import benchmark
from compressor.benchmarking.environment import describe as describe_machine
from compressor.checkpoints import Network
from compressor.errors import TargetNotMet
from compressor.export import DEFAULT_OPSET, describe, export_onnx
from compressor.files import gzipped_bytes
from compressor.groups import ChannelGroup, find_groups, zero
from compressor.progress import Progress, silent
from compressor.records.costs import Aims, Costs, Trial
from compressor.records.run import TargetKind
from compressor.shrinking import remove_zero_channels
from compressor.splitting import SplittingConfig
from compressor.splitting.auxiliary import units_of
from compressor.splitting.penalised import penalised_weights
from compressor.splitting.prunable import Prunable
from compressor.splitting.selection import Selection
from compressor.splitting.targets import Target, latency_holds
from compressor.splitting.zero_target import smallest, surviving
from compressor.stages.costs import measure_costs

# How often a network is built and measured, and how close to a target is close enough.
TRIALS, CLOSE = 4, 0.02
# Kept free of a size, because training chooses other channels; its numbers compress less well than those before, and
# measured on LeNet-5, 6.5 % less well where most of them are zero.
SPARE, SPARE_COMPRESSED, SPARE_ZEROS = 0.005, 0.02, 0.08
MEASURED: tuple[TargetKind, ...] = ("latency", "size")


@dataclass(frozen=True, kw_only=True)
class Runtime:
    """In what a network is to be exported, run and measured."""

    threads: int = 1
    provider: str = "cpu"
    opset: int = DEFAULT_OPSET
    max_seconds: float = 60.0
    seed: int = 0
    allow_fallback: bool = False


def aim(
    network: Network,
    penalties: SplittingConfig,
    *,
    groups: Sequence[ChannelGroup] | None = None,
    costs: Costs | None = None,
    runtime: Runtime | None = None,
    progress: Progress | None = None,
) -> Aims:
    """What a training needs to know for targets in latency and bytes; nothing where there is no such target.

    The network that the weights as they are would leave is built, exported and measured. Where it misses a target or
    stays far below, the share of the foretold cost that is allowed is corrected, and the next one measured. Latency is
    foretold by ``costs``, which are measured when they are not given. Costs of another processor are believed: what
    this one takes says nothing about that.

    Raises `TargetNotMet` when the smallest network misses a target, and what `measure_costs` raises.
    """
    asked = _asked(penalties)
    if not asked:
        return Aims()
    runtime, tell = runtime or Runtime(), progress or silent
    example = network.example_input()
    groups = find_groups(network.model, example) if groups is None else groups
    if "latency" in asked and costs is None:
        costs = costs_in(runtime, network, groups, lambda share, text: tell(share / 2, text))
    asked = _asked(penalties, costs)
    if not asked:
        return Aims(costs=costs)
    prunable = Prunable(network.model, example, groups, penalties)

    def selected(aims: Aims) -> Selection:
        return Selection(prunable, penalties, aims, seed=runtime.seed)

    with tempfile.TemporaryDirectory() as folder:
        trials = _Trials(network, prunable, selected, penalties, asked, runtime, Path(folder))
        return trials.run(Aims(costs=costs), lambda share, text: tell(0.5 + share / 2, text))


def aim_settled(
    network: Network,
    penalties: SplittingConfig,
    selection: Selection,
    aims: Aims,
    *,
    runtime: Runtime | None = None,
    progress: Progress | None = None,
) -> Aims:
    """``aims`` with which the channels that were settled on meet the targets; ``selection`` keeps to them from now on.

    `aim` has measured what the weights alone would leave, and another network may take another time for the same
    foretold cost. These are the channels that stay, so the largest network that was measured to meet the targets is
    that which is trained.

    Raises `TargetNotMet` when the smallest network misses a target.
    """
    asked = _asked(penalties, aims.costs)
    if not asked:
        return aims
    with tempfile.TemporaryDirectory() as folder:
        trials = _Trials(
            network, selection.prunable, selection.within, penalties, asked, runtime or Runtime(), Path(folder)
        )
        found = trials.run(aims, progress or silent, exactly=True)
    selection.within(found)
    return found


def _asked(penalties: SplittingConfig, costs: Costs | None = None) -> dict[TargetKind, Target]:
    """The targets that are to be measured here: costs of another processor are believed."""
    asked = {target.kind: target for target in penalties.targets if target.kind in MEASURED}
    if costs is not None and made_elsewhere(costs.environment.cpu_model):
        asked.pop("latency", None)
    return asked


def costs_in(runtime: Runtime, network: Network, groups: Sequence[ChannelGroup] | None, progress: Progress) -> Costs:
    """`measure_costs` of ``network`` as it is to be run."""
    return measure_costs(
        network,
        groups,
        threads=runtime.threads,
        provider=runtime.provider,
        max_seconds=runtime.max_seconds,
        seed=runtime.seed,
        allow_fallback=runtime.allow_fallback,
        progress=progress,
    )


def made_elsewhere(cpu_model: str | None) -> bool:
    """Whether that is another processor than this one."""
    return cpu_model != describe_machine(()).cpu_model


@dataclass(frozen=True)
class _Trials:
    network: Network
    prunable: Prunable
    selected: Callable[[Aims], Selection]
    penalties: SplittingConfig
    asked: Mapping[TargetKind, Target]
    runtime: Runtime
    folder: Path

    def run(self, aims: Aims, tell: Progress, *, exactly: bool = False) -> Aims:
        """The aims with which a measured network met all targets, the largest of those that were tried.

        They are corrected by how far it stayed below, unless ``exactly`` that network is wanted.
        """
        dense = self.folder / "dense.onnx"
        self._export(self.network.model, dense)
        if "size" in self.asked and "size" not in aims.shares:
            share = self.asked["size"].asked / stored_bytes(dense, compressed=self.asked["size"].compressed)
            aims = replace(aims, shares={**aims.shares, "size": min(1.0, share)})
        met, most, shares = None, 0.0, dict[TargetKind, float]()
        for number in range(TRIALS):
            tell(number / TRIALS, f"network {number + 1} of at most {TRIALS} for the target")
            selection = self._selection(aims)
            if selection is None:
                break
            kept = {group.name: count for group, count in zip(self.prunable.groups, selection.kept, strict=True)}
            known = next((trial for trial in aims.trials if trial.kept == kept), None)
            trial = known or self._measured(selection, kept, dense)
            shares = self._corrected(selection, trial, shares)
            own = {kind: selection.shares[kind] for kind in self.asked}
            aims = Aims(costs=aims.costs, shares=shares, trials=aims.trials if known else (*aims.trials, trial))
            # What is trained exactly so will compress less well, so that much must be spared already.
            spare = {kind: self._spare(target) if exactly else 0.0 for kind, target in self.asked.items()}
            if all(_holds(target, trial, spare[kind]) for kind, target in self.asked.items()):
                if not exactly:
                    met = aims
                elif sum(own.values()) > most:
                    met, most = replace(aims, shares=own), sum(own.values())
                if all(shares[kind] <= selection.shares[kind] * (1 + CLOSE) for kind in shares):
                    break
        if met is None:
            raise TargetNotMet(self._missed(aims))
        return replace(met, trials=aims.trials)

    def _corrected(
        self, selection: Selection, trial: Trial, known: Mapping[TargetKind, float]
    ) -> dict[TargetKind, float]:
        """The share of the foretold cost with which each target is met, if the error stays that of ``trial``.

        A size must not be exceeded, so the least share of all trials counts.
        """
        found = {}
        for limit in selection.limits:
            if limit.target.kind in self.asked:
                used = limit.cost.total(selection.kept) / limit.cost.dense
                share = _corrected(used, limit.target, trial, self._spare(limit.target))
                least = known.get(limit.target.kind, share) if limit.target.kind == "size" else share
                found[limit.target.kind] = min(share, least)
        return found

    def _selection(self, aims: Aims) -> Selection | None:
        """What is left within the shares; None when a corrected share is out of reach."""
        try:
            selection = self.selected(aims)
        except TargetNotMet:
            if aims.trials:
                return None
            raise
        selection.select()
        return selection

    def _measured(self, selection: Selection, kept: Mapping[str, int], dense: Path) -> Trial:
        """Bytes and latency of the network with the selected channels."""
        file = self.folder / "small.onnx"
        self._export(self._small(selection), file)
        trial = Trial(kept=kept)
        if "size" in self.asked:
            trial = replace(trial, size=float(stored_bytes(file, compressed=self.asked["size"].compressed)))
        if "latency" in self.asked:
            report = benchmark(
                [dense, file],
                threads=self.runtime.threads,
                provider=self.runtime.provider,
                max_seconds=self.runtime.max_seconds,
                seed=self.runtime.seed,
                allow_fallback=self.runtime.allow_fallback,
                details=False,
            )
            trial = replace(trial, latency=report.comparisons[0].ratio, latency_ci95=report.comparisons[0].ci95)
        return trial

    def _small(self, selection: Selection) -> nn.Module:
        model = copy.deepcopy(self.network.model)
        dropped, example = selection.channels.dropped(), self.network.example_input()
        if self.penalties.target_zeros is not None:
            self._zero_weights(model, dropped, self.penalties.target_zeros)
        for group, gone in zip(self.prunable.groups, dropped, strict=True):
            zero(model, group, gone)
        shrunk = remove_zero_channels(model, example, align=self.penalties.align, groups=self.prunable.groups)
        return shrunk.model

    @torch.no_grad()
    def _zero_weights(self, model: nn.Module, dropped: Sequence[Tensor], share: float) -> None:
        """Zero those single weights that a target of zeros would choose now."""
        named = penalised_weights(model, self.network.example_input(), self.penalties)
        weights = list(named.values())
        units = dict(zip(weights, units_of(weights), strict=True))
        masks = smallest(weights, surviving(model, weights, self.prunable.groups, dropped), units, share)
        for weight, zeros in zip(weights, masks, strict=True):
            weight.masked_fill_(zeros, 0.0)

    def _export(self, model: nn.Module, file: Path) -> None:
        known = describe(self.network.metadata)
        export_onnx(model, self.network.example_input(), file, opset=self.runtime.opset, metadata=known)

    def _spare(self, target: Target) -> float:
        if target.kind != "size":
            return 0.0
        if not target.compressed:
            return SPARE
        return SPARE_COMPRESSED if self.penalties.target_zeros is None else SPARE_ZEROS

    def _missed(self, aims: Aims) -> str:
        last = aims.trials[-1]
        reached = ", ".join(
            f"{target} asked, {target.shown(getattr(last, kind))} measured" for kind, target in self.asked.items()
        )
        return f"{reached} of the smallest network that was tried{self.prunable.obstacles('macs')}"


def _holds(target: Target, trial: Trial, spare: float) -> bool:
    if target.kind == "latency":
        return trial.latency_ci95 is not None and latency_holds(target.asked, trial.latency_ci95)
    return trial.size is not None and trial.size <= target.asked * (1 - spare)


def _corrected(share: float, target: Target, trial: Trial, spare: float) -> float:
    """The share with which the same error would meet the target, a little spared."""
    reached = trial.latency if target.kind == "latency" else trial.size
    assert reached is not None
    return min(1.0, share * target.asked * (1 - spare) / reached)


def stored_bytes(file: Path, *, compressed: bool) -> int:
    """Bytes of an exported file with its external weights, as they are or after ``gzip -6``."""
    parts = [file, *(part for part in [file.with_name(f"{file.name}.data")] if part.exists())]
    return sum(gzipped_bytes(part) if compressed else part.stat().st_size for part in parts)
