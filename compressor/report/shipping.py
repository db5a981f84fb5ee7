"""What of a run to ship, and what to do next, as commands that can be copied."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePath

from compressor.records.run import Report, RunReport, StageRow
from compressor.report.again import Command, Copyable, command_of
from compressor.report.change import Change, change_of
from compressor.report.figures import final_metric, main_comparison
from compressor.report.format import Tone, plain, size
from compressor.report.table import Column, Table, row
from compressor.report.targets import SHARES, target_value, targets_of

MOST_EPOCHS = 10**6
LONGER, LESS = 2, 0.75
"""So many times the epochs where accuracy is lacking, and so much of the target where speed is."""


@dataclass(frozen=True)
class Step:
    """Something to do next, and its command."""

    why: str
    command: str


@dataclass(frozen=True)
class Product:
    """A file of the run, what it is, and whether it is one to ship."""

    file: str
    what: str
    size_bytes: int | None
    ship: bool


@dataclass(frozen=True)
class Shipping:
    """The advice in a sentence, the files of the folder, and what to do next."""

    advice: str
    tone: Tone
    products: tuple[Product, ...]
    steps: tuple[Step, ...]

    @property
    def files(self) -> Table:
        """The products, those to ship first."""
        columns = (Column("File", numeric=False), Column("What it is", numeric=False, wraps=True), Column("Size"))
        rows = tuple(
            row(one.file, one.what if one.ship else f"not to ship: {one.what}", size(one.size_bytes))
            for one in self.products
        )
        return Table("Files of this run", columns, rows)


def shipping_of(report: Report) -> Shipping | None:
    """None for a benchmark, and for a run of an older version, which does not name its files."""
    if not isinstance(report, RunReport) or not report.stages or not report.stages[-1].file:
        return None
    advice, tone = _advice(report)
    command = command_of(report.command)
    return Shipping(advice, tone, tuple(_products(report)), tuple(_steps(report, command)) if command else ())


def shipping_lines(report: Report) -> list[str]:
    """The same for the terminal: advice, files, and every step with its command on a line of its own."""
    shipping = shipping_of(report)
    if shipping is None:
        return []
    files = [f"  {plain(one.file)}: {one.what}" for one in shipping.products if one.ship]
    others = [plain(one.file) for one in shipping.products if not one.ship]
    steps = [line for step in shipping.steps for line in (f"{step.why}:", Copyable(f"  {step.command}"))]
    return [shipping.advice, *files, *([f"  not to ship: {', '.join(others)}"] if others else []), *steps]


def _advice(run: RunReport) -> tuple[str, Tone]:
    file, change, comparison = plain(run.stages[-1].file), _change(run), main_comparison(run)
    missed = [target_value(target, target.asked) for target in targets_of(run) if not target.met]
    lacking = [f"the target of {asked} was missed" for asked in missed]
    lacking += [f"gate --{gate.name} {gate.limit:g} failed" for gate in run.gates if not gate.holds]
    if lacking:
        return f"Do not ship {file} yet: {', '.join(lacking)}.", "bad"
    doubts = []
    if change is not None and change.is_worse:
        doubts.append(f"a change of {change.text} ({change.interval_text}) is acceptable")
    if comparison is not None and comparison.verdict != "faster":
        doubts.append("it is for its size, since it is not shown to be faster")
    if comparison is None or change is None or change.interval is None:
        doubts.append("what was not measured does not matter")
    return (f"Ship {file} if {', and if '.join(doubts)}.", "open") if doubts else (f"Ship {file}.", "good")


def _change(run: RunReport) -> Change | None:
    return change_of(run.stages[0].metric, final_metric(run))


def _products(run: RunReport) -> Iterator[Product]:
    """What to ship first, then the same network for PyTorch, then what was only on the way."""
    *earlier, last = (stage for stage in run.stages if stage.file)
    yield Product(last.file, "the small network, for ONNX Runtime", last.size_bytes, ship=True)
    if earlier and earlier[-1].parameters == last.parameters:
        same = earlier.pop()
        yield Product(same.file, "the same network for PyTorch, to load or to train on", same.size_bytes, ship=True)
    for stage in earlier:
        yield Product(stage.file, f"the network {_place(stage)}", stage.size_bytes, ship=False)


def _place(stage: StageRow) -> str:
    """Where on the way: by the name of the row."""
    places = {
        "dense": "that the run started from",
        "re-estimated": "with its channels zero, not yet removed",
        "projected": "with its channels zero, not yet removed",
        "shrunk": "without those channels, before it was recovered",
    }
    return places.get(stage.stage, f"after the stage {plain(stage.stage)}")


def _steps(run: RunReport, command: Command) -> Iterator[Step]:
    """First what would mend what is lacking, then what to do before shipping."""
    dense, small = (str(PurePath(command.out, name)) for name in ("dense.onnx", run.stages[-1].file))
    yield from _mending(run, command)
    if (comparison := main_comparison(run)) is not None and comparison.verdict == "inconclusive":
        longer = Command(("compress", "benchmark", dense, small, "--max-seconds", "300"), command.out).again()
        yield Step("To decide whether it is faster, measure longer on an idle machine", longer)
    elsewhere = Command(("compress", "benchmark", dense, small, "--out", "there.json"), command.out).again()
    yield Step("To know its speed where it will run, measure it there", elsewhere)
    checked = Command(("compress", "evaluate", small, *command.kept("--data", "--task", "--task-arg")), command.out)
    yield Step("To check the file itself", checked.again())


def _mending(run: RunReport, command: Command) -> Iterator[Step]:
    failed, change, epochs = _failed(run), _change(run), run.settings.get("epochs")
    # Where the change is within noise it takes more samples, which the gate's own text says.
    short = change is not None and (change.is_worse or ("max-drop" in failed and not change.is_noise))
    # Reports are read from files: settings may hold anything.
    if short and isinstance(epochs, int) and 0 < epochs < MOST_EPOCHS:
        longer = command.again(epochs=str(LONGER * epochs), out=f"{command.out}-longer")
        name = plain(change.after.name) if change is not None else "accuracy"
        yield Step(f"To win back {name}, train longer", longer)
    target = run.target
    if target is None or target.kind not in SHARES:
        return
    option = f"target_{target.kind}"
    if not target.met and 0 < target.reached <= 1:
        share = f"{math.ceil(100 * target.reached) / 100:g}"
        yield Step("To ask for what can be reached", command.again(**{option: share, "out": f"{command.out}-again"}))
    if "min-speedup" in failed and 0 < target.asked <= 1:
        less = command.again(**{option: f"{LESS * target.asked:.2g}", "out": f"{command.out}-smaller"})
        yield Step("To become faster, keep less", less)


def _failed(run: RunReport) -> set[str]:
    return {gate.name for gate in run.gates if not gate.holds}
