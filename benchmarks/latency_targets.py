"""The same training with MACs and with measured latency as what channels cost, at equal latency: who is more accurate?

    python benchmarks/latency_targets.py OUT MODEL SHARES [options of compress run ...]

For each share of the MACs (0.5,0.3) a run with ``--target-macs``, then one with ``--target-latency`` at the latency
that the first was measured at, from costs that are measured once. In the end all are timed beside each other.
Folders in OUT that are finished are not run again. A table in Markdown goes to stdout; intervals of differences in
accuracy are paired.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from compressor.benchmarking import benchmark
from compressor.codec import read_report
from compressor.records.run import RunReport
from compressor.report.paired import paired_interval, pairs_of


def run(out: Path, model: str, *options: str) -> RunReport:
    """The report of that run, finished before or now; a missed target is in it."""
    command = [sys.executable, "-m", "compressor", "run", model, *options, "--out", str(out), "--quiet"]
    subprocess.run(command, check=False, stdout=subprocess.DEVNULL)
    report = read_report(out / "report.json")
    assert isinstance(report, RunReport)
    return report


def main() -> None:
    """Run and print."""
    out, model, shares, *options = sys.argv[1:]
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    costs = folder / "costs.json"
    if not costs.exists():
        trusted = [option for option in options if option == "--trust-arch"]
        command = [sys.executable, "-m", "compressor", "costs", model, "--out", str(costs), "--quiet", *trusted]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    reports: dict[str, RunReport] = {}
    for share in shares.split(","):
        by_macs = run(folder / f"macs-{share}", model, "--target-macs", share, *options)
        assert by_macs.benchmark is not None
        latency = f"{by_macs.benchmark.comparisons[-1].ratio:.3f}"
        reports[f"macs-{share}"] = by_macs
        wanted = ("--target-latency", latency, "--costs", str(costs))
        reports[f"latency-of-{share}"] = run(folder / f"latency-of-{share}", model, *wanted, *options)
    files = [folder / next(iter(reports)) / "dense.onnx", *(folder / name / "small.onnx" for name in reports)]
    timed = benchmark(files, names=["dense", *reports], max_seconds=240, pairs=12, details=False)
    print("| target | MACs | latency relative to dense | accuracy | beside the run above |")
    print("|---|---|---|---|---|")
    before = None
    for (name, report), comparison in zip(reports.items(), timed.comparisons, strict=True):
        first, last = report.stages[0], report.stages[-1]
        assert last.metric is not None
        beside = ""
        if before is not None and name.startswith("latency"):
            pairs = pairs_of(before, last.metric)
            assert pairs is not None
            low, high = (-100 * end for end in reversed(paired_interval(pairs)))
            beside = f"{100 * (pairs.won - pairs.lost) / pairs.n:+.2f} points [{low:+.2f}, {high:+.2f}]"
        low, high = comparison.ci95
        print(
            f"| {name} | {last.macs / first.macs:.1%} | {comparison.ratio:.3f} [{low:.3f}–{high:.3f}] "
            f"| {100 * last.metric.value:.2f} % | {beside} |"
        )
        before = last.metric


if __name__ == "__main__":
    main()
