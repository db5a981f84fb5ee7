"""The smallest network within a drop of the metric: runs with smaller and larger targets until the edge is known.

The drop is measured on the validation part, which no training sees and by which nothing else is chosen; what the report
says of the chosen network is measured on the test part, as ever.
"""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeGuard

from msgspec.structs import replace

from compressor.checkpoints import Network
from compressor.codec import decode, encode
from compressor.data.feeds import Data
from compressor.data.samples import DataSet
from compressor.errors import UsageError
from compressor.files import atomic_path, remove_folder, write_bytes
from compressor.locks import hold_folder
from compressor.pipeline import Callbacks
from compressor.pipeline.folder import holds_others, plain_settings, require_same
from compressor.pipeline.known_costs import COSTS, with_costs
from compressor.pipeline.plan import settings_of
from compressor.pipeline.probes import FOLDER, Probes
from compressor.pipeline.search_plan import SearchPlan, require_samples
from compressor.progress import silent
from compressor.records.run import RunReport, Target
from compressor.records.search import Drop, Probe
from compressor.regular_files import read_bytes
from compressor.report.format import plain
from compressor.report.publishing import publish
from compressor.report.targets import target_value
from compressor.stages import REPORTS, STAGES
from compressor.stages.evaluate import evaluate
from compressor.tasks.classification import Classification

SETTINGS = "search.json"


def search(
    network: Network,
    data: Data,
    plan: SearchPlan,
    out: Path,
    *,
    overwrite: bool = False,
    callbacks: Callbacks | None = None,
    announce: Callable[[str], None] = lambda text: None,
) -> RunReport:
    """Do or resume the search in folder ``out``, and return the report of the network that was chosen.

    Each probe is a run in ``out/search``; the files of the chosen one are also in ``out``. Where no network is within
    the drop, that with the smallest drop is chosen, and the report's target is not met. A probe begins at the smallest
    network that is within the drop so far. `UsageError` when ``out`` holds something else, or another search.
    """
    callbacks = callbacks or Callbacks()
    doubts = require_samples(len(data.val), plan.drop) if counts_right(data) else []
    with hold_folder(out):
        plan = dataclasses.replace(plan, run=with_costs(plan.run, network, out, silent))
        _open(out, _settings(network, data, plan), overwrite=overwrite)
        dense = evaluate(network, data, part="val").metric
        tried = Probes(network, data, plan, out, dense, callbacks, announce)
        for target in plan.targets(tried.within):
            if tried.trained == plan.probes:
                break
            tried.probe(target)
        chosen, drop = tried.choice()
        report = callbacks.complete(_report(tried, chosen, drop, doubts))
        _take(out / chosen.folder, out)
        publish(report, out / "report.json")
    return report


def counts_right(data: Data) -> TypeGuard[DataSet]:
    """Whether the metric is the share of images that are right, of which is known what samples can show."""
    return isinstance(data, DataSet) and isinstance(data.task, Classification)


def missed_drop(report: RunReport, plan: SearchPlan, out: Path) -> str:
    """What stands in the way of a drop that was not met."""
    chosen, drop = next((probe, probe.drop) for probe in report.probes if probe.chosen and probe.drop)
    unit = _unit(report)
    if drop.points <= plan.drop:
        others = ", ".join(f"--target-{one.kind}" for one in report.targets if not one.met and one.kind != "drop")
        return (
            f"the smallest network within a drop of {plan.drop:g} {unit} misses {others}; the result is kept in {out}"
        )
    shown, *ends = _figures(report, drop)
    sure = f"{' to '.join(ends)} with 95 % confidence, " if ends else "no interval is known, "
    way = f"--target-{plan.kind} {plan.limit:g} allows none that is larger; " if plan.limit is not None else ""
    return (
        f"no network within a drop of {plan.drop:g} {unit} was found: the nearest, of --target-{plan.kind} "
        f"{chosen.asked:.6g}, loses {shown} {unit} ({sure}on "
        f"{drop.n:,} validation samples); {way}more --epochs recover more; the result is kept in {out}"
    )


def _report(tried: Probes, chosen: Probe, drop: Drop, doubts: list[str]) -> RunReport:
    """That of the chosen run, with all probes and the target of the search."""
    report, plan = tried.reports[chosen.folder], tried.plan
    unit = "" if tried.dense.unit == "share" else tried.dense.unit or tried.dense.name
    target = Target(kind="drop", asked=plan.drop, reached=drop.points, met=chosen.within, ci95=drop.ci95, unit=unit)
    # The target of the probe itself was asked for by the search alone, unless it is where the search began.
    others = tuple(one for one in report.targets if plan.limit is not None or one.kind != plan.kind)
    probes = [replace(probe, chosen=probe is chosen) for _, probe in sorted(tried.probes.items(), reverse=True)]
    return replace(
        report,
        duration_s=round(sum(one.duration_s for one in tried.reports.values()), 2),
        settings={**report.settings, "target_drop": plan.drop, "max_probes": plan.probes},
        target=target,
        targets=(target, *others),
        probes=tuple(probes),
        warnings=(*doubts, *_doubt(chosen, drop, plan.drop, target), *report.warnings),
    )


def _doubt(chosen: Probe, drop: Drop, asked: float, target: Target) -> list[str]:
    if not chosen.within or (drop.ci95 is not None and drop.ci95[1] <= asked):
        return []
    estimate = f"the drop of {target_value(target, drop.points)} is an estimate on {drop.n:,} validation samples"
    if drop.ci95 is None:
        return [f"{estimate}, and its interval is not known"]
    return [f"{estimate}: up to {target_value(target, drop.ci95[1])} lie within its 95 % interval"]


def _figures(report: RunReport, drop: Drop) -> list[str]:
    """The drop and the ends of its interval, without their unit."""
    decimals = ".2f" if _unit(report) == "points" else ".4g"
    return [f"{value:{decimals}}" for value in (drop.points, *(drop.ci95 or ()))]


def _unit(report: RunReport) -> str:
    """In what the drop is measured."""
    return next((plain(one.unit) for one in report.targets if one.kind == "drop" and one.unit), "points")


def _settings(network: Network, data: Data, plan: SearchPlan) -> Mapping[str, Any]:
    known = settings_of(network, data, plan.probe(plan.largest))
    return plain_settings({**known, "kind": plan.kind, "target_drop": plan.drop, "limit": plan.limit})


def _open(out: Path, settings: Mapping[str, Any], *, overwrite: bool) -> None:
    file = out / SETTINGS
    if overwrite and file.exists():
        _clear(out)
    if file.exists():
        require_same(out, decode(read_bytes(file), dict[str, Any], str(file)), settings, what="search")
    elif holds_others(out, SETTINGS, COSTS):
        raise UsageError(f"{out} exists and does not hold a search; choose another --out")
    write_bytes(file, encode(settings))


def _clear(out: Path) -> None:
    """Remove what a search writes, and nothing else."""
    remove_folder(out / FOLDER)
    for name in (*REPORTS, *(name for stage in STAGES for name in stage.files), SETTINGS, COSTS):
        (out / name).unlink(missing_ok=True)


def _take(probe: Path, out: Path) -> None:
    """Put the files of the chosen run into ``out``."""
    for name in (name for stage in STAGES for name in stage.files):
        if not (probe / name).exists():
            (out / name).unlink(missing_ok=True)
            continue
        with atomic_path(out / name) as temporary:
            shutil.copyfile(probe / name, temporary)
