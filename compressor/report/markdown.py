"""Reports as GitHub Markdown, for a comment on a pull request."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from compressor.records.run import Gate, Report, RunReport
from compressor.report.alignment import alignment_table
from compressor.report.benchmark_tables import files_table, latency_table, verdict_table
from compressor.report.differences import Labelled, comparison_headline, comparison_notes, difference_table
from compressor.report.figures import benchmark_of, summary_table
from compressor.report.format import plain
from compressor.report.headline import all_warnings, headline
from compressor.report.operators import operator_table
from compressor.report.probe_table import probe_table
from compressor.report.providers import provider_table
from compressor.report.run_tables import check_table, gate_table, layer_table, parity_table, stage_table
from compressor.report.shipping import Shipping, Step, shipping_of
from compressor.report.side_by_side import compare_reports, comparison_table
from compressor.report.table import Table
from compressor.report.targets import target_table, targets_of
from compressor.report.throughput import throughput_table

MARKS = {"good": "🟢 ", "bad": "🔴 ", "open": "🟡 ", "plain": ""}


def report_markdown(report: Report) -> str:
    """A run or a benchmark as Markdown."""
    tables: list[Table] = []
    folded: list[Table] = []
    if isinstance(report, RunReport):
        tables += [summary_table(report), target_table(targets_of(report)), gate_table(report.gates)]
        tables += [stage_table(report), probe_table(report)]
        folded += [check_table(report), parity_table(report), layer_table(report)]
    if (benchmark := benchmark_of(report)) is not None:
        tables += [
            latency_table(benchmark),
            throughput_table(benchmark),
            provider_table(benchmark),
            operator_table(benchmark),
        ]
        folded += [verdict_table(benchmark), files_table(benchmark), alignment_table(benchmark)]
    notes = report.notes if isinstance(report, RunReport) else ()
    return page_markdown(headline(report), all_warnings(report), tables, folded, notes, shipping_of(report))


def comparison_markdown(labelled: Labelled, gates: Sequence[Gate] = ()) -> str:
    """Several labelled reports side by side as Markdown, with the gates between them."""
    result = compare_reports(labelled)
    tables = [gate_table(gates), difference_table(labelled)]
    title, notes = comparison_headline(labelled), comparison_notes(labelled)
    return page_markdown(title, result.warnings, tables, [comparison_table(result)], notes)


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
    shipping: Shipping | None = None,
) -> str:
    """Blocks in reading order; ``folded`` tables open on a click."""
    blocks = [f"### {escape(title)}"]
    if listed := [f"> - {escape(warning)}" for warning in warnings]:
        blocks.append("\n".join(["> [!WARNING]", *listed]))
    blocks += _shipped(shipping) if shipping else []
    blocks += [_section(table) for table in tables if table.rows]
    blocks += [
        f"<details><summary>{escape(table.title)}</summary>\n\n{_drawn(table)}\n\n</details>"
        for table in folded
        if table.rows
    ]
    blocks += [f"*{escape(note)}*" for note in notes]
    return "\n\n".join(blocks) + "\n"


def _shipped(shipping: Shipping) -> list[str]:
    """The advice and the files; then each step with its command, in a fence that the command cannot close."""
    return [f"**{escape(shipping.advice)}**", _drawn(shipping.files), *map(_step, shipping.steps)]


def _step(step: Step) -> str:
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", step.command)), default=0))
    return f"{escape(step.why)}:\n\n{fence}sh\n{plain(step.command)}\n{fence}"


def _section(table: Table) -> str:
    caption = f"\n\n<sub>{escape(table.caption)}</sub>" if table.caption else ""
    return f"**{escape(table.title)}**\n\n{_drawn(table)}{caption}"


def _drawn(table: Table) -> str:
    header = [escape(column.title) for column in table.columns]
    rule = ["---:" if column.numeric else ":---" for column in table.columns]
    body = [[MARKS[cell.tone] + escape(cell.text) for cell in cells] for cells in table.rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in (header, rule, *body))
