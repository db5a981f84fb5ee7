"""Costs of layers that several runs need: measured once, kept in their common folder."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from compressor.checkpoints import Network
from compressor.codec import read_costs, write_costs
from compressor.locks import hold
from compressor.pipeline.plan import RunPlan
from compressor.pipeline.waiting import patiently
from compressor.progress import Progress
from compressor.stages.aim import costs_in

COSTS = "costs.json"


def with_costs(plan: RunPlan, network: Network, folder: Path, progress: Progress) -> RunPlan:
    """``plan`` with the costs that a target in latency needs: its own, those in ``folder``, or new ones there.

    Who finds another process at it waits for what that measures.
    """
    if plan.costs is not None or plan.penalties.target_latency is None:
        return plan
    file = folder / COSTS
    with patiently(lambda: hold(file)):
        if not file.exists():
            write_costs(file, costs_in(plan.runtime, network, None, progress))
        return replace(plan, costs=read_costs(file))
