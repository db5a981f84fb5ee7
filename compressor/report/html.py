"""Reports as one self-contained HTML page: no script, no request to anywhere, light and dark, printable.

A `Page` is what is shown, in reading order, before it is HTML.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined, Template, select_autoescape
from markupsafe import Markup, escape

from compressor.records.benchmark import BenchmarkReport
from compressor.records.run import Gate, Report, RunReport
from compressor.report import charts
from compressor.report.alignment import alignment_table
from compressor.report.benchmark_tables import (
    environment_tables,
    files_table,
    latency_table,
    verdict_table,
)
from compressor.report.differences import (
    Labelled,
    comparison_headline,
    comparison_notes,
    difference_table,
)
from compressor.report.figures import KeyFigure, benchmark_of, key_figures
from compressor.report.format import duration, metric_title, moment, plain
from compressor.report.headline import all_warnings, headline
from compressor.report.operators import operator_table
from compressor.report.probe_table import probe_table
from compressor.report.providers import provider_table
from compressor.report.run_tables import check_table, gate_table, layer_table, parity_table, stage_table
from compressor.report.shipping import Shipping, shipping_of
from compressor.report.side_by_side import ComparedNetwork, SideBySide, compare_reports, comparison_table
from compressor.report.table import Table, facts
from compressor.report.targets import target_table, targets_of
from compressor.report.throughput import throughput_table

TEMPLATE = "report.html.j2"


def report_html(report: Report) -> str:
    """A run or a benchmark as a page."""
    return render(run_page(report) if isinstance(report, RunReport) else benchmark_page(report))


def comparison_html(labelled: Labelled, gates: Sequence[Gate] = ()) -> str:
    """Several labelled reports side by side as a page, with the gates between them."""
    return render(comparison_page(labelled, gates))


@dataclass(frozen=True, slots=True)
class Chart:
    """An inline SVG, what it shows, and how to read it."""

    svg: str
    title: str
    caption: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Section:
    """A heading with charts and tables; a folded section opens on a click, and is left out in print."""

    title: str
    charts: tuple[Chart, ...] = ()
    tables: tuple[Table, ...] = ()
    folded: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Page:
    """One report."""

    title: str
    headline: str
    subtitle: str
    figures: tuple[KeyFigure, ...] = ()
    shipping: Shipping | None = None
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    sections: tuple[Section, ...] = ()
    command: str = ""


def run_page(run: RunReport) -> Page:
    """The page of a run."""
    sections = [
        _section("Targets and gates", tables=[target_table(targets_of(run)), gate_table(run.gates)]),
        _section("Stages", tables=[stage_table(run)]),
        _section("Search", tables=[probe_table(run)]),
        _section("Equivalence checks", tables=[check_table(run), parity_table(run)]),
        _section("Charts", drawn=_run_charts(run)),
        *(_benchmark_sections(run.benchmark) if run.benchmark else ()),
        _section("Layers", tables=[layer_table(run)], folded=True),
        _section("Settings of the run", tables=[facts("Run settings", run.settings)], folded=True),
    ]
    return Page(
        title=f"Compression of {run.settings.get('architecture') or 'a network'}",
        headline=headline(run),
        subtitle=_subtitle(run),
        figures=tuple(key_figures(run)),
        shipping=shipping_of(run),
        warnings=tuple(all_warnings(run)),
        notes=run.notes,
        sections=tuple(filter(_has_content, sections)),
        command=run.command,
    )


def benchmark_page(benchmark: BenchmarkReport) -> Page:
    """The page of a benchmark."""
    sections = [_section("Charts", drawn=[_latency_chart(benchmark)]), *_benchmark_sections(benchmark)]
    return Page(
        title=f"Benchmark of {', '.join(variant.name for variant in benchmark.variants)}",
        headline=headline(benchmark),
        subtitle=_subtitle(benchmark),
        warnings=tuple(all_warnings(benchmark)),
        sections=tuple(filter(_has_content, sections)),
    )


def comparison_page(labelled: Labelled, gates: Sequence[Gate] = ()) -> Page:
    """The page of several reports side by side."""
    result = compare_reports(labelled)
    timed = [row for row in result.rows if row.comparison]
    drawn = [
        Chart(charts.tradeoff_chart(result) or "", *_tradeoff_words(result)),
        Chart(
            charts.latency_chart([row.comparison for row in timed if row.comparison], _row_names(timed)) or "",
            "Latency",
            "Each against the baseline of its own document.",
        ),
    ]
    sections = [
        _section("Gates", tables=[gate_table(gates)]),
        _section("Differences", tables=[difference_table(labelled)]),
        _section("Charts", drawn=drawn),
        _section("Side by side", tables=[comparison_table(result)]),
    ]
    for label, report in labelled:
        if (benchmark := benchmark_of(report)) is not None:
            machine = environment_tables(benchmark)
            sections.append(_section(f"Environment of {label}", tables=machine, folded=True))
    return Page(
        title=f"Comparison of {', '.join(label for label, _ in labelled)}",
        headline=comparison_headline(labelled),
        subtitle="",
        warnings=result.warnings,
        notes=tuple(comparison_notes(labelled)),
        sections=tuple(filter(_has_content, sections)),
    )


def _row_names(rows: Sequence[ComparedNetwork]) -> list[str]:
    """By label, and by what else tells them apart."""
    variants = len({row.variant for row in rows}) > 1
    batches = len({row.batch for row in rows}) > 1
    parts = [
        (row.label, f": {row.variant}" if variants else "", f", batch {row.batch}" if batches else "") for row in rows
    ]
    return ["".join(part) for part in parts]


def _tradeoff_words(result: SideBySide) -> tuple[str, str]:
    metrics = [row.metric for row in result.rows if row.metric]
    better = "down" if metrics and metrics[0].direction == "lower" else "up"
    return f"{metric_title(metrics)} against latency", f"Left and {better} is better."


def _run_charts(run: RunReport) -> list[Chart]:
    title = metric_title(stage.metric for stage in run.stages)
    drawn = [
        Chart(charts.metric_chart(run) or "", f"{title} through the stages", _stage_words(run)),
        Chart(charts.channel_chart(run) or "", "Channels per layer", "Before and after removal."),
        Chart(
            charts.training_chart(run) or "",
            "Training",
            _training_words(run),
        ),
    ]
    if run.benchmark:
        drawn.insert(1, _latency_chart(run.benchmark))
    return drawn


def _stage_words(run: RunReport) -> str:
    stale = " and ".join(stage.stage for stage in run.stages if stage.stale)
    left_out = f" Left out: {stale}, measured with stale BatchNorm statistics." if stale else ""
    return f"Bars: 95 % intervals.{left_out}"


def _training_words(run: RunReport) -> str:
    # Older versions measured the network as it was, and named no files.
    as_shipped = ", of the network as it would be shipped then" if run.stages[-1].file else ""
    return f"The metric is on the validation part{as_shipped}. A dotted line parts the phases."


def _latency_chart(benchmark: BenchmarkReport) -> Chart:
    names = [f"{comparison.variant}, batch {comparison.batch}" for comparison in benchmark.comparisons]
    names += [f"control, batch {control.batch}" for control in benchmark.controls]
    svg = charts.latency_chart([*benchmark.comparisons, *benchmark.controls], names)
    return Chart(
        svg or "",
        "Latency",
        "Left of 1 is faster. Bars: 95 % intervals, band: noise floor, control: baseline against itself.",
    )


def _benchmark_sections(benchmark: BenchmarkReport) -> tuple[Section, ...]:
    return (
        _section("Benchmark", tables=[latency_table(benchmark), throughput_table(benchmark), verdict_table(benchmark)]),
        _section(
            "Where the time goes",
            tables=[operator_table(benchmark), alignment_table(benchmark), provider_table(benchmark)],
        ),
        _section("Files", tables=[files_table(benchmark)], folded=True),
        _section("Environment", tables=environment_tables(benchmark), folded=True),
    )


def _section(title: str, *, drawn: Iterable[Chart] = (), tables: Iterable[Table] = (), folded: bool = False) -> Section:
    return Section(
        title=title,
        charts=tuple(chart for chart in drawn if chart.svg),
        tables=tuple(table for table in tables if table.rows),
        folded=folded,
    )


def _has_content(section: Section) -> bool:
    return bool(section.charts or section.tables)


def _subtitle(report: Report) -> str:
    written = f"{report.tool.name} {report.tool.version}"
    return f"{moment(report.started)} · took {duration(report.duration_s)} · {written}"


def render(page: Page) -> str:
    """Fill the template; everything but the charts is escaped."""
    return _template().render(page=page)


def prose(text: object) -> Markup:
    """One line of text, escaped, whose per cent signs stay with their numbers."""
    return escape(plain(text)).replace(" %", "\u00a0%")


@cache
def _template() -> Template:
    environment = Environment(
        loader=PackageLoader("compressor.report", ""),
        # By its default, which looks at the last extension only, nothing in a .j2 file would be escaped.
        autoescape=select_autoescape(enabled_extensions=("html.j2",), default=True),
        undefined=StrictUndefined,
        finalize=lambda value: value if isinstance(value, Markup) else plain(value),
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["prose"] = prose
    return environment.get_template(TEMPLATE)
