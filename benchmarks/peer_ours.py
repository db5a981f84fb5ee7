"""This project's methods in the comparison: ``compress run`` as its users have it, and ``prune`` before a recovery."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec
from peer_cells import Cell, Key, Seconds, read_cells, stopwatch
from peer_training import Bench

from compressor import load
from compressor.codec import decode, read_report
from compressor.errors import CompressorError, UsageError
from compressor.files import remove_folder
from compressor.records.run import RunReport
from compressor.regular_files import read_bytes
from compressor.splitting import Splitting, SplittingConfig, build_splitting
from compressor.stages.prune import prune
from compressor.training.calibration import sample_losses

TIMED_RUN = Path(__file__).with_name("peer_timed_run.py")
# Of the short measurement at the end of a run, which only says what a target in latency may ask for.
BENCHMARK_SECONDS = 10.0


@dataclass(frozen=True)
class Ours:
    """What is asked for: MACs, or the latency that the network of as many MACs, of the same seed, was measured at.

    With ``prune`` as many MACs are left before the training, all of which is recovery.

    ``held`` keeps to the groups that the other tools can remove.
    """

    kind: str
    held: bool = False


OURS = {
    "ours-macs": Ours("macs"),
    "ours-latency": Ours("latency"),
    "ours-macs-held": Ours("macs", held=True),
    "ours-prune": Ours("prune"),
}
SETTING = "default"


def run(key: Key, bench: Bench, results: Path, *, again: bool = False) -> Cell:
    """One cell; `UsageError` where the method says nothing that another does not."""
    ours, subject = OURS[key.method], bench.subject
    if ours.held and not subject.held:
        raise UsageError(f"the other tools can remove all channels of {bench.name}: that is ours-macs")
    patterns = [option for name in subject.held for option in ("--layers", name)] if ours.held else []
    if ours.kind == "prune":
        return _pruned(key, bench, results)
    folder = key.path(results, "")
    if again and folder.exists():
        remove_folder(folder)
    target = _target(ours, key, bench, results)
    report, seconds = _run(key, bench, folder, [*target, *patterns])
    steps = {row.stage: row.metric.value for row in report.stages if row.metric is not None}
    assert report.benchmark is not None
    return bench.cell(
        key,
        load(folder / "recovered.pt", trust_arch=True).model,
        key.path(results, ".onnx"),
        seconds,
        {
            "untrained": _untrained(bench, ours, 1 / key.target, key.seed),
            "sparse": steps["fine-tuned"],
            "removed": steps["shrunk"],
        },
        {"target": " ".join(target[:2]), "run_latency": report.benchmark.comparisons[-1].ratio},
    )


def _pruned(key: Key, bench: Bench, results: Path) -> Cell:
    """``compress prune``, and the training of everything that is pruned at once."""
    data = replace(bench.data, test=bench.data.val)  # it shows how it does on a test part, which is no part of its work
    with stopwatch() as taken:
        pruned = prune(bench.dense, data, SplittingConfig(target_macs=1 / key.target), seed=key.seed)
    model = pruned.network.model
    removed = bench.accuracy(model)
    seconds = taken[0] + bench.train(model, bench.plan(key.seed).recipe) + bench.asked(key.seed)[1]
    steps = {"untrained": None, "sparse": None, "removed": removed}
    return bench.cell(
        key, model, key.path(results, ".onnx"), seconds, steps, {"target": f"--target-macs {1 / key.target:g}"}
    )


def _target(ours: Ours, key: Key, bench: Bench, results: Path) -> list[str]:
    if ours.kind == "macs":
        return ["--target-macs", f"{1 / key.target:.6f}"]
    like = Key(network=key.network, method="ours-macs", setting=SETTING, target=key.target, seed=key.seed)
    cells = read_cells(results)
    known = cells.get(like) or cells.get(msgspec.structs.replace(like, seed=0))
    if known is None:
        raise CompressorError(f"ours-latency needs a cell of ours-macs at {key.target:g}x first, of its seed or of 0")
    # Best as it was timed beside all others; the run itself had other work beside it, perhaps.
    ratio = known.settings["run_latency"] if known.latency is None else known.latency.ratio
    return ["--target-latency", f"{ratio:.4f}", "--costs", str(_costs(bench, results))]


def _costs(bench: Bench, results: Path) -> Path:
    """What the layers cost at other widths, measured once for a network."""
    path = results / bench.name / "costs.json"
    if not path.exists():
        _compress("costs", bench.subject.checkpoint, "--out", str(path), "--quiet", "--trust-arch")
    return path


def _run(key: Key, bench: Bench, folder: Path, target: Sequence[str]) -> tuple[RunReport, Seconds]:
    """The report of the run in ``folder``, and the time of its training loops; one that was broken off starts anew."""
    subject, spent = bench.subject, folder.with_name(f"{folder.name}.seconds")
    if not (folder / "report.json").exists():
        if folder.exists():
            remove_folder(folder)
        limit = ["--max-train", str(subject.max_train)] if subject.max_train is not None else []
        options = {
            "--data": subject.data,
            "--epochs": subject.epochs,
            "--batch-size": subject.batch_size,
            "--lr": subject.lr,
            "--precision": subject.precision,
            "--seed": key.seed,
            "--max-seconds": BENCHMARK_SECONDS,
            "--device": "cpu",
            "--out": folder,
        }
        flat = [str(part) for option in options.items() for part in option]
        more = [*limit, *target, "--trust-arch", "--quiet"]
        # A target in latency that is missed by a little is a result all the same.
        _timed(spent, "run", subject.checkpoint, *flat, *more)
    report = read_report(folder / "report.json")
    assert isinstance(report, RunReport)
    return report, decode(read_bytes(spent), Seconds, str(spent))


def _timed(spent: Path, *arguments: str) -> None:
    spent.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run([sys.executable, TIMED_RUN, spent, *arguments], check=False, stdout=subprocess.DEVNULL)


def _compress(*arguments: str) -> None:
    subprocess.run([sys.executable, "-m", "compressor", *arguments], check=True, stdout=subprocess.DEVNULL)


def _untrained(bench: Bench, ours: Ours, share: float, seed: int) -> float | None:
    """Accuracy when the channels go at once, chosen by gradients of single samples, and nothing is trained.

    None for a latency.
    """
    if ours.kind != "macs":
        return None
    model, example = bench.copy(), bench.dense.example_input()
    wanted = SplittingConfig(target_macs=share, layers=bench.subject.held if ours.held else (), saliency="fisher")
    splitting = build_splitting(model, example, wanted, total_steps=1, epoch_steps=1, samples=1)
    assert isinstance(splitting, Splitting)
    normalization = bench.dense.metadata.normalization
    splitting.calibrate(sample_losses(model, bench.data, normalization, seed=seed))
    splitting.step = splitting.schedule.total_steps
    splitting.revise()
    projection = splitting.project()
    assert projection.target is not None
    assert projection.target.met
    return bench.accuracy(model)
