"""What the folder of a run keeps of its finished stages."""

from __future__ import annotations

from typing import Generic, TypeVar

from compressor.records import BenchmarkReport, Export, Record, StageRow
from compressor.records.stages import Evaluation, FineTuning, Shrinking

Result = TypeVar("Result")


class Finished(Record, Generic[Result], frozen=True, kw_only=True):
    """The record that a stage returned, its rows in the report, when it began and how long it took."""

    result: Result
    rows: tuple[StageRow, ...] = ()
    started: str = ""
    seconds: float = 0.0


class FinishedRun(Record, frozen=True, kw_only=True):
    """All stages of a run, in their order."""

    dense: Finished[Evaluation]
    fine_tune: Finished[FineTuning]
    shrink: Finished[Shrinking]
    recover: Finished[FineTuning]
    export: Finished[tuple[Export, ...]]
    benchmark: Finished[BenchmarkReport]

    @property
    def rows(self) -> tuple[StageRow, ...]:
        """The rows of all stages."""
        stages = self.dense, self.fine_tune, self.shrink, self.recover, self.export, self.benchmark
        return tuple(row for stage in stages for row in stage.rows)

    @property
    def seconds(self) -> float:
        """The time of all stages."""
        stages = self.dense, self.fine_tune, self.shrink, self.recover, self.export, self.benchmark
        return round(sum(stage.seconds for stage in stages), 2)
