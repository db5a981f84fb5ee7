"""A sweep as files: JSON for machines, HTML and Markdown for people."""

from __future__ import annotations

from pathlib import Path

from compressor.codec import encode
from compressor.files import write_bytes, write_text
from compressor.records.sweep import SweepReport
from compressor.report.benchmark_tables import environment_tables, latency_table, verdict_table
from compressor.report.format import duration, metric_title, moment, plain, speed, speed_interval
from compressor.report.html import Chart, Page, Section, render
from compressor.report.markdown import page_markdown
from compressor.report.sweep_chart import frontier_chart
from compressor.report.sweep_table import file_table, sweep_table
from compressor.report.table import facts

SWEEP_REPORTS = ("sweep.json", "sweep.html", "sweep.md")


def publish_sweep(report: SweepReport, folder: Path) -> None:
    """Write ``report`` into ``folder``: sweep.json, sweep.html and sweep.md."""
    write_bytes(folder / "sweep.json", encode(report) + b"\n")
    write_text(folder / "sweep.html", sweep_html(report))
    write_text(folder / "sweep.md", sweep_markdown(report))


def sweep_headline(report: SweepReport) -> str:
    """How many networks there are, which are worth a look, and the fastest of these."""
    points = report.networks[1:]
    useful = [one.name for one in points if one.dominated_by is None]
    text = f"{len(points)} networks"
    if report.failed:
        text += f", {len(report.failed)} targets without one"
    timed = [one for one in report.benchmark.comparisons if one.variant in useful]
    if not timed:
        return f"{text}; none is on the frontier but the dense one."
    fastest = min(timed, key=lambda one: one.ratio)
    on_it = (
        "all are"
        if len(useful) == len(points)
        else f"{', '.join(map(plain, useful))} {'is' if len(useful) == 1 else 'are'}"
    )
    return (
        f"{text}; {on_it} on the frontier. Fastest: {plain(fastest.variant)}, {speed(fastest)} "
        f"(CI {speed_interval(fastest)})."
    )


def sweep_html(report: SweepReport) -> str:
    """The page of a sweep."""
    return render(sweep_page(report))


def sweep_page(report: SweepReport) -> Page:
    """The sweep in reading order."""
    title = metric_title(one.metric for one in report.networks)
    chart = frontier_chart(report)
    caption = "Left and up is better. Bars: 95 % intervals. Hollow: dominated by another network."
    written = f"{report.tool.name} {report.tool.version}"
    charts = (Chart(chart, f"{title} against latency", caption),) if chart else ()
    return Page(
        title=f"Sweep of {report.settings.get('architecture') or 'a network'}",
        headline=sweep_headline(report),
        subtitle=" · ".join((moment(report.started), f"took {duration(report.duration_s)}", written)),
        warnings=sweep_warnings(report),
        notes=report.notes,
        sections=(
            Section(title="Frontier", charts=charts, tables=(sweep_table(report),)),
            Section(title="Side by side", tables=(latency_table(report.benchmark), verdict_table(report.benchmark))),
            Section(title="Files", tables=(file_table(report),)),
            Section(title="Environment", tables=environment_tables(report.benchmark), folded=True),
            Section(title="Settings of the sweep", tables=(facts("Settings", report.settings),), folded=True),
        ),
        command=report.command,
    )


def sweep_warnings(report: SweepReport) -> tuple[str, ...]:
    """What happened in the points, and why the timings may be doubted; each once."""
    return tuple(dict.fromkeys(map(plain, (*report.warnings, *report.benchmark.warnings))))


def sweep_markdown(report: SweepReport) -> str:
    """The sweep as Markdown."""
    tables, folded = [sweep_table(report)], [latency_table(report.benchmark), file_table(report)]
    return page_markdown(sweep_headline(report), sweep_warnings(report), tables, folded, report.notes)
