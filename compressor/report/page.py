"""What a page shows, before it is HTML: figures, sections, charts and sheets in reading order."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from compressor.report import charts
from compressor.report.benchmark_sheets import (
    benchmark_sheet,
    environment_sheets,
    files_sheet,
    unaligned_sheet,
    verdict_sheet,
)
from compressor.report.compare import Labelled, compare
from compressor.report.comparison_sheet import comparison_sheet
from compressor.report.documents import Document, benchmark_of
from compressor.report.headline import all_warnings, headline
from compressor.report.key_figures import KeyFigure, run_figures
from compressor.report.run_sheets import layer_sheet, parity_sheet, proof_sheet, stage_sheet
from compressor.report.sheet import Sheet, facts
from compressor.report.wording import duration, moment


@dataclass(frozen=True, slots=True)
class Chart:
    """An inline SVG, what it shows, and how to read it."""

    svg: str
    title: str
    caption: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Section:
    """A heading with charts and sheets; a folded section opens on a click and always in print."""

    title: str
    charts: tuple[Chart, ...] = ()
    sheets: tuple[Sheet, ...] = ()
    folded: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Page:
    """One report."""

    title: str
    headline: str
    subtitle: str
    figures: tuple[KeyFigure, ...] = ()
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    sections: tuple[Section, ...] = ()
    command: str = ""


def run_page(run: Document) -> Page:
    """The page of a run."""
    benchmark = run["benchmark"]
    sections = [
        _section("Stages", sheets=[stage_sheet(run)]),
        _section("Proofs", sheets=[proof_sheet(run), parity_sheet(run)]),
        _section("Charts", drawn=_run_charts(run)),
        *(_benchmark_sections(benchmark) if benchmark else ()),
        _section("Layers", sheets=[layer_sheet(run)], folded=True),
        _section("Settings of the run", sheets=[facts("Run settings", run["settings"])], folded=True),
    ]
    return Page(
        title=f"Compression of {run['settings'].get('architecture') or 'a network'}",
        headline=headline(run),
        subtitle=_subtitle(run),
        figures=run_figures(run),
        warnings=tuple(all_warnings(run)),
        notes=tuple(run["notes"]),
        sections=tuple(filter(_has_content, sections)),
        command=run["command"],
    )


def benchmark_page(benchmark: Document) -> Page:
    """The page of a benchmark."""
    sections = [_section("Charts", drawn=[_latency_chart(benchmark)]), *_benchmark_sections(benchmark)]
    return Page(
        title=f"Benchmark of {', '.join(variant['name'] for variant in benchmark['variants'])}",
        headline=headline(benchmark),
        subtitle=_subtitle(benchmark),
        warnings=tuple(all_warnings(benchmark)),
        sections=tuple(filter(_has_content, sections)),
    )


def comparison_page(labelled: Labelled) -> Page:
    """The page of several documents side by side."""
    result = compare(labelled)
    timed = [
        (f"{row.label}: {row.variant}, batch {row.batch}", row.comparison) for row in result.rows if row.comparison
    ]
    drawn = [
        Chart(charts.tradeoff_chart(result) or "", "Accuracy against latency", "Left and up is better."),
        Chart(
            charts.latency_chart([comparison for _, comparison in timed], [name for name, _ in timed]) or "",
            "Latency",
            "Each against the baseline of its own document.",
        ),
    ]
    sections = [_section("Side by side", sheets=[comparison_sheet(result)]), _section("Charts", drawn=drawn)]
    for label, document in labelled:
        if (benchmark := benchmark_of(document)) is not None:
            machine = environment_sheets(benchmark)
            sections.append(_section(f"Environment of {label}", sheets=machine, folded=True))
    return Page(
        title=f"Comparison of {', '.join(label for label, _ in labelled)}",
        headline=f"{len(labelled)} reports side by side.",
        subtitle="",
        warnings=result.warnings,
        notes=tuple(f"{label}: {headline(document)}" for label, document in labelled),
        sections=tuple(filter(_has_content, sections)),
    )


def _run_charts(run: Document) -> list[Chart]:
    drawn = [
        Chart(charts.accuracy_chart(run) or "", "Accuracy through the stages", "Bars: 95 % intervals."),
        Chart(charts.channel_chart(run) or "", "Channels per layer", "Before and after removal."),
        Chart(charts.training_chart(run) or "", "Training", "Dotted line: a new phase begins."),
    ]
    if run["benchmark"]:
        drawn.insert(1, _latency_chart(run["benchmark"]))
    return drawn


def _latency_chart(benchmark: Document) -> Chart:
    controls = [(comparison, "control") for comparison in benchmark["controls"]]
    timed = [(one, one["variant"]) for one in benchmark["comparisons"]] + controls
    names = [f"{name}, batch {one['batch']}" for one, name in timed]
    svg = charts.latency_chart([one for one, _ in timed], names)
    return Chart(
        svg or "",
        "Latency",
        "Left of 1 is faster. Bars: 95 % intervals, band: noise floor, control: baseline against itself.",
    )


def _benchmark_sections(benchmark: Document) -> tuple[Section, ...]:
    return (
        _section("Benchmark", sheets=[benchmark_sheet(benchmark), verdict_sheet(benchmark)]),
        _section("Files", sheets=[files_sheet(benchmark), unaligned_sheet(benchmark)], folded=True),
        _section("Environment", sheets=environment_sheets(benchmark), folded=True),
    )


def _section(title: str, *, drawn: Iterable[Chart] = (), sheets: Iterable[Sheet] = (), folded: bool = False) -> Section:
    return Section(
        title=title,
        charts=tuple(chart for chart in drawn if chart.svg),
        sheets=tuple(sheet for sheet in sheets if sheet.rows),
        folded=folded,
    )


def _has_content(section: Section) -> bool:
    return bool(section.charts or section.sheets)


def _subtitle(document: Document) -> str:
    tool = document["tool"]
    written = f"{tool.get('name', 'unknown tool')} {tool.get('version', '')}".strip()
    return f"{moment(document['started'])} · took {duration(document['duration_s'])} · {written}"
