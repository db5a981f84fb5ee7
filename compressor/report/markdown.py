"""Reports as GitHub Markdown, for a comment on a pull request."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from compressor.records.run import Gate, Report, RunReport
from compressor.report.benchmark_tables import files_table, latency_table, unaligned_table, verdict_table
from compressor.report.format import plain
from compressor.report.headline import all_warnings, benchmark_of, headline
from compressor.report.probe_table import probe_table
from compressor.report.run_tables import check_table, gate_table, layer_table, parity_table, stage_table
from compressor.report.side_by_side import Labelled, compare_reports, comparison_table
from compressor.report.table import Table

MARKS = {"good": "🟢 ", "bad": "🔴 ", "open": "🟡 ", "plain": ""}


def report_markdown(report: Report) -> str:
    """A run or a benchmark as Markdown."""
    tables: list[Table] = []
    folded: list[Table] = []
    if isinstance(report, RunReport):
        tables += [gate_table(report.gates), stage_table(report), check_table(report), parity_table(report)]
        tables += [probe_table(report)]
        folded += [layer_table(report)]
    if (benchmark := benchmark_of(report)) is not None:
        tables += [latency_table(benchmark)]
        folded += [verdict_table(benchmark), files_table(benchmark), unaligned_table(benchmark)]
    notes = report.notes if isinstance(report, RunReport) else ()
    return page_markdown(headline(report), all_warnings(report), tables, folded, notes)


def comparison_markdown(labelled: Labelled, gates: Sequence[Gate] = ()) -> str:
    """Several labelled reports side by side as Markdown, with the gates between them."""
    result = compare_reports(labelled)
    lines = [f"{label}: {headline(report)}" for label, report in labelled]
    return page_markdown("Side by side", result.warnings, [gate_table(gates), comparison_table(result)], [], lines)


def escape(text: str) -> str:
    """``text`` so that GitHub shows it as it is: no markup, no HTML, no link, no new table cell."""
    quoted = re.sub(r"([\\`*_{}\[\]|~#]|:(?=//)|(?<=www)\.|@)", r"\\\1", plain(text), flags=re.IGNORECASE)
    return quoted.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def page_markdown(
    title: str,
    warnings: Iterable[str],
    tables: Iterable[Table],
    folded: Iterable[Table],
    notes: Iterable[str],
) -> str:
    """Blocks in reading order; ``folded`` tables open on a click."""
    blocks = [f"### {escape(title)}"]
    if listed := [f"> - {escape(warning)}" for warning in warnings]:
        blocks.append("\n".join(["> [!WARNING]", *listed]))
    blocks += [_section(table) for table in tables if table.rows]
    blocks += [
        f"<details><summary>{escape(table.title)}</summary>\n\n{_drawn(table)}\n\n</details>"
        for table in folded
        if table.rows
    ]
    blocks += [f"*{escape(note)}*" for note in notes]
    return "\n\n".join(blocks) + "\n"


def _section(table: Table) -> str:
    caption = f"\n\n<sub>{escape(table.caption)}</sub>" if table.caption else ""
    return f"**{escape(table.title)}**\n\n{_drawn(table)}{caption}"


def _drawn(table: Table) -> str:
    header = [escape(column.title) for column in table.columns]
    rule = ["---:" if column.numeric else ":---" for column in table.columns]
    body = [[MARKS[cell.tone] + escape(cell.text) for cell in cells] for cells in table.rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in (header, rule, *body))
