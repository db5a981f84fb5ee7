"""The runs of a search, and what the metric of each is on the validation part."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from compressor.checkpoints import Network, load
from compressor.data.feeds import Data
from compressor.errors import TargetNotMet
from compressor.pipeline import Callbacks, run
from compressor.pipeline.search_plan import SearchPlan
from compressor.pipeline.start import allows_start
from compressor.records import Metric
from compressor.records.run import RunReport
from compressor.records.search import Drop, Probe
from compressor.report.change import change_of
from compressor.report.drops import worse_by
from compressor.report.paired import paired_interval, pairs_of
from compressor.stages.evaluate import evaluate_onnx

FOLDER = "search"


class Probes:
    """The probes so far."""

    def __init__(
        self,
        network: Network,
        data: Data,
        plan: SearchPlan,
        out: Path,
        dense: Metric,
        callbacks: Callbacks,
        announce: Callable[[str], None],
    ) -> None:
        self.network, self.data, self.plan, self.out = network, data, plan, out
        self.dense, self.callbacks, self.announce = dense, callbacks, announce
        self.probes: dict[float, Probe] = {}
        self.reports: dict[str, RunReport] = {}

    @property
    def trained(self) -> int:
        """How many networks there are."""
        return len(self.reports)

    def within(self, target: float) -> bool:
        """Whether the network of a target that was tried is within the drop."""
        return target in self.probes and self.probes[target].within

    def probe(self, target: float) -> None:
        """Make the network of one target, or read what it came to."""
        folder, start = f"{FOLDER}/{target:.6g}", self._start()
        self.announce(f"--target-{self.plan.kind} {target:.6g}" + (f", from the network of {start}" if start else ""))
        try:
            report = run(
                self.network,
                self.data,
                self.plan.probe(target),
                self.out / folder,
                start=self._load(start) if start else None,
                callbacks=replace(self.callbacks, complete=lambda report: report),
            )
        except TargetNotMet as error:
            self.probes[target] = Probe(folder=folder, asked=target, within=False, start=start, why=str(error))
            return
        self.reports[folder] = report
        self.probes[target] = self._measured(folder, target, start, report)

    def choice(self) -> tuple[Probe, Drop]:
        """The smallest within the drop, else the one with the smallest drop; `TargetNotMet` when there is none."""
        known = [(probe, probe.drop) for probe in self.probes.values() if probe.drop is not None]
        if not known:
            raise TargetNotMet("; ".join(probe.why for probe in self.probes.values()))
        within = [(probe, drop) for probe, drop in known if probe.within]
        if within:
            return min(within, key=lambda one: one[0].asked)
        return min(known, key=lambda one: (one[1].points, one[0].asked))

    def _start(self) -> str:
        """The folder of the smallest network within the drop, where training may begin at one."""
        within = [probe for probe in self.probes.values() if probe.within]
        if not within or not allows_start(self.plan.run.penalties):
            return ""
        return min(within, key=lambda probe: probe.asked).folder

    def _load(self, folder: str) -> Network:
        return load(self.out / folder / "recovered.pt", trusted=self.network.metadata.architecture)

    def _measured(self, folder: str, target: float, start: str, report: RunReport) -> Probe:
        file = self.out / folder / "small.onnx"
        small = evaluate_onnx(
            file, self.data, self.network.metadata.normalization, part="val", like=self.network
        ).metric
        drop = drop_of(self.dense, small)
        return Probe(
            folder=folder,
            asked=target,
            within=drop.points <= self.plan.drop and all(one.met for one in report.targets),
            drop=drop,
            macs=report.stages[-1].macs,
            start=start,
        )


def drop_of(dense: Metric, small: Metric) -> Drop:
    """How much worse ``small`` is than ``dense``."""
    pairs, change = pairs_of(dense, small), change_of(dense, small)
    if pairs is not None:
        low, high = paired_interval(pairs)
        points = 100 * (pairs.lost - pairs.won) / pairs.n
        return Drop(points=points, ci95=(100 * low, 100 * high), n=pairs.n)
    ends = None if change is None else change.interval
    if ends is not None and small.direction == "higher":
        ends = -ends[1], -ends[0]
    return Drop(points=worse_by(dense, small), ci95=ends, n=small.n or 0)
