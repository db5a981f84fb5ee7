"""What a run does, checked before it begins, and the settings that decide its results."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import Any

from compressor.benchmarking import check_settings
from compressor.checkpoints import Network
from compressor.checkpoints.fingerprints import data_fingerprint, fingerprint, task_fingerprint
from compressor.codec import encode
from compressor.data.feeds import Data
from compressor.data.loaders import Loaders
from compressor.errors import UsageError
from compressor.export import DEFAULT_OPSET, check_opset
from compressor.loggers import require_loggers
from compressor.records.benchmark import BenchmarkSettings
from compressor.records.costs import Costs
from compressor.splitting import SplittingConfig
from compressor.stages.aim import Runtime
from compressor.stages.jobs import Crew
from compressor.training.evaluation import named
from compressor.training.recipe import Recipe
from compressor.training.states import check_every

FORMAT = 5
"""Of run folders: raised when what the stages do or keep changes, so that no run is half old and half new."""

# Of the epochs, those with the penalty: docs/quality.md has others.
SPARSE = 1 / 6
# Of each training sample, shown in turn.
VIEWS = 2


@dataclass(frozen=True, kw_only=True)
class RunPlan:
    """What a run does; ``recipe.epochs`` is the total, of one learning rate curve: the network is trained with the
    penalty for a sixth of them, and then recovers without its zero channels.

    With ``allow_chance`` also for a dense network that is no better than guessing. With ``allow_fallback`` nodes may
    run on another provider than ``provider``. ``log`` names loggers of `compressor.loggers`. Where there is a ``crew``,
    its processes train together.
    """

    penalties: SplittingConfig
    recipe: Recipe
    opset: int = DEFAULT_OPSET
    threads: int = 1
    provider: str = "cpu"
    max_seconds: float = 60.0
    costs: Costs | None = None
    checkpoint_every: int = 1
    checkpoint_steps: int | None = None
    crew: Crew | None = None
    log: tuple[str, ...] = ()
    command: str = ""
    notes: tuple[str, ...] = ()
    allow_chance: bool = False
    allow_fallback: bool = False

    def __post_init__(self) -> None:
        if self.recipe.epochs < 2:
            raise UsageError(f"--epochs of a run is the total and must be at least 2, got {self.recipe.epochs}")
        if not self.penalties.targets:
            raise UsageError("a run needs a target: --target-macs, --target-params, --target-latency or --target-size")
        check_every(self.checkpoint_every, self.checkpoint_steps)
        require_loggers(self.log)
        check_opset(self.opset)
        # What the last stage needs is checked before the first one runs.
        check_settings(
            BenchmarkSettings(provider=self.provider, threads=self.threads, max_seconds=self.max_seconds, batches=(1,))
        )

    @property
    def sparse(self) -> Recipe:
        """The first epochs, with the penalty."""
        total = self.recipe.epochs
        epochs = max(1, round(SPARSE * total))
        return replace(self.recipe, epochs=epochs, after=total - epochs)

    @property
    def processes(self) -> int:
        """How many train together."""
        return self.crew.size if self.crew is not None else 1

    @property
    def views(self) -> int:
        """How many augmented views of each training sample the dense network is asked about."""
        return min(VIEWS, self.recipe.epochs)

    @property
    def recovery(self) -> Recipe:
        """The other epochs, of the small network."""
        before = self.sparse.epochs
        return replace(self.recipe, epochs=self.recipe.epochs - before, before=before)

    @property
    def runtime(self) -> Runtime:
        """In what networks are exported and measured."""
        return Runtime(
            threads=self.threads,
            provider=self.provider,
            opset=self.opset,
            max_seconds=self.max_seconds,
            seed=self.recipe.seed,
            allow_fallback=self.allow_fallback,
        )

    def noted(self, notes: tuple[str, ...]) -> RunPlan:
        """The same plan with notes for the reader of its report."""
        return replace(self, notes=notes)


def settings_of(network: Network, data: Data, plan: RunPlan) -> dict[str, Any]:
    """Everything that decides the results: a run is only resumed with the same."""
    recipe = {key: value for key, value in vars(plan.recipe).items() if key != "device"}
    return {
        "compressor": FORMAT,
        **{key: value for key, value in vars(plan.penalties).items() if key != "beta"},
        **recipe,
        "beta": "{:g}:{:g}".format(*plan.penalties.beta_range),
        "opset": plan.opset,
        "threads": plan.threads,
        "provider": plan.provider,
        "max_seconds": plan.max_seconds,
        "data": data.ref,
        **_parts(data, plan.processes),
        "architecture": network.metadata.architecture.ref,
        "normalization": str(network.metadata.normalization) if network.metadata.normalization else None,
        "costs": None if plan.costs is None else hashlib.sha256(encode(plan.costs)).hexdigest(),
        "weights_sha256": fingerprint(network.model.state_dict()),
        "data_sha256": data_fingerprint(data),
    }


def _parts(data: Data, processes: int) -> dict[str, Any]:
    """How the samples were divided, and the task where it is not the one that it always was."""
    task = task_fingerprint(data.task)
    others = {} if task is None else {"task": named(data.task), "task_sha256": task}
    if isinstance(data, Loaders):
        # Each process trains on whole batches of them.
        known: dict[str, Any] = {"processes": processes} if processes > 1 else {}
        return {"train_samples": data.train_samples, **known, **others}
    known = {"split_seed": data.split_seed, "val_fraction": data.val_fraction}
    return {**known, "train_samples": len(data.train), "augmentation": str(data.augmentation), **others}
