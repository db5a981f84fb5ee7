"""What a report says first: in a sentence, and in a few lines."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from compressor.records.benchmark import BenchmarkReport, Comparison
from compressor.records.run import Report, RunReport
from compressor.report.change import change_of
from compressor.report.figures import benchmark_of, final_metric, main_comparison
from compressor.report.format import percent, plain, scientific, share, speed, speed_interval, verdict
from compressor.report.targets import missed_line, targets_of

# So many verdicts fit into a headline; more are counted.
FEW = 2
# Shares of the work that have a name, and how far from it they may be.
NAMED = {1 / 2: "half the compute", 1 / 3: "a third of the compute", 1 / 4: "a quarter of the compute"}
NEAR = 0.01


def headline(report: Report) -> str:
    """One honest sentence or two: what was reached, and what was not."""
    return _run_headline(report) if isinstance(report, RunReport) else _benchmark_headline(report)


def finding_lines(report: Report) -> list[str]:
    """What was checked or each comparison, one line of plain text each; the headline stands above them."""
    if isinstance(report, RunReport):
        return list(_check_lines(report))
    return list(map(_comparison_line, report.comparisons)) if len(report.comparisons) > FEW else []


def all_warnings(report: Report) -> list[str]:
    """The warnings of a report and of the benchmark inside it, each once and as one line of plain text."""
    benchmark = benchmark_of(report)
    return list(dict.fromkeys(map(plain, (*report.warnings, *(benchmark.warnings if benchmark else ())))))


def speed_part(comparison: Comparison | None) -> str:
    """``1.40x faster (CI 1.34–1.45)``, and as plainly what is not faster."""
    if comparison is None:
        return "speed not measured"
    said = {"same": "no faster", "inconclusive": "speed inconclusive"}.get(comparison.verdict, speed(comparison))
    return f"{said} (CI {speed_interval(comparison)})"


def compute_part(run: RunReport) -> str:
    """``half the compute``, ``49.5 % of the compute``: the share of the MACs that is left."""
    before, after = run.stages[0].macs, run.stages[-1].macs
    near = [name for named, name in NAMED.items() if before and abs(after / before - named) <= NEAR]
    return near[0] if near else f"{share(after, before)} of the compute"


def metric_part(run: RunReport) -> str:
    """``accuracy −0.56 points (within noise: CI −1.67 to +0.56)``."""
    before, after = run.stages[0].metric, final_metric(run)
    change = change_of(before, after)
    if change is not None:
        return f"{plain(change.after.name)} {change.brief}"
    return "accuracy not measured" if after is None else f"{plain(after.name)} not comparable with the dense network's"


def _run_headline(run: RunReport) -> str:
    missed = [missed_line(target) for target in targets_of(run) if not target.met]
    failed = [f"Gate --{gate.name} {gate.limit:g} failed." for gate in run.gates if not gate.holds]
    text = ", ".join((speed_part(main_comparison(run)), compute_part(run), metric_part(run)))
    return " ".join((*missed, *failed, f"{text[0].upper()}{text[1:]}."))


def _benchmark_headline(benchmark: BenchmarkReport) -> str:
    comparisons = benchmark.comparisons
    if not comparisons:
        names = ", ".join(plain(variant.name) for variant in benchmark.variants)
        return f"{names}: measured alone, nothing to compare with."
    if len(comparisons) <= FEW:
        return " ".join(map(_comparison_line, comparisons))
    outcomes = Counter(comparison.verdict for comparison in comparisons)
    counted = ", ".join(f"{number} {outcome}" for outcome, number in outcomes.items())
    return f"{len(comparisons)} comparisons: {counted}."


def _comparison_line(comparison: Comparison) -> str:
    names = f"{plain(comparison.variant)} against {plain(comparison.baseline)}"
    return f"{names}, batch {comparison.batch}: {verdict(comparison)}."


def _check_lines(run: RunReport) -> Iterator[str]:
    if removal := run.removal:
        float64 = f"{scientific(removal.float64)} in float64 (limit {scientific(removal.float64_limit)}) and "
        float32 = f"{scientific(removal.float32)} in float32 (limit {scientific(removal.float32_limit)})."
        yield (
            f"Removing {removal.channels_removed} of {removal.channels_total} channels changed the outputs by "
            f"{'' if removal.float64 is None else float64}{float32}"
        )
    if run.gap is not None:
        yield f"Gap before projection: {scientific(run.gap)} of the weights' norm."
    for export in run.export:
        yield (
            f"ONNX {plain(export.variant)}: differs from PyTorch by {scientific(export.parity.norm_rel)}, "
            f"same top-1 on {percent(export.parity.top1_agreement)}."
        )
    yield from map(plain, run.notes)
