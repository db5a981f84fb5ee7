"""Documents as GitHub Markdown, for a comment on a pull request."""

from __future__ import annotations

import re
from collections.abc import Iterable

from compressor.report.benchmark_sheets import benchmark_sheet, files_sheet, unaligned_sheet, verdict_sheet
from compressor.report.compare import Labelled, compare
from compressor.report.comparison_sheet import comparison_sheet
from compressor.report.documents import Document
from compressor.report.headline import all_warnings, headline
from compressor.report.run_sheets import layer_sheet, parity_sheet, proof_sheet, stage_sheet
from compressor.report.sheet import Sheet
from compressor.report.wording import plain

MARKS = {"good": "🟢 ", "bad": "🔴 ", "open": "🟡 ", "plain": ""}


def document_markdown(document: Document) -> str:
    """A run or a benchmark as Markdown."""
    benchmark = document["benchmark"] if document["kind"] == "run" else document
    sheets: list[Sheet] = []
    folded: list[Sheet] = []
    if document["kind"] == "run":
        sheets += [stage_sheet(document), proof_sheet(document), parity_sheet(document)]
        folded += [layer_sheet(document)]
    if benchmark is not None:
        sheets += [benchmark_sheet(benchmark)]
        folded += [verdict_sheet(benchmark), files_sheet(benchmark), unaligned_sheet(benchmark)]
    notes = document["notes"] if document["kind"] == "run" else []
    return _page(headline(document), all_warnings(document), sheets, folded, notes)


def comparison_markdown(labelled: Labelled) -> str:
    """Several labelled documents side by side as Markdown."""
    result = compare(labelled)
    lines = [f"{label}: {headline(document)}" for label, document in labelled]
    return _page("Side by side", result.warnings, [comparison_sheet(result)], [], lines)


def escape(text: str) -> str:
    """``text`` so that GitHub shows it as it is: no markup, no HTML, no new table cell."""
    quoted = re.sub(r"([\\`*_{}\[\]|~#])", r"\\\1", plain(text))
    return quoted.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _page(
    title: str,
    warnings: Iterable[str],
    sheets: Iterable[Sheet],
    folded: Iterable[Sheet],
    notes: Iterable[str],
) -> str:
    blocks = [f"### {escape(title)}"]
    if listed := [f"> - {escape(warning)}" for warning in warnings]:
        blocks.append("\n".join(["> [!WARNING]", *listed]))
    blocks += [_section(sheet) for sheet in sheets if sheet.rows]
    blocks += [
        f"<details><summary>{escape(sheet.title)}</summary>\n\n{_table(sheet)}\n\n</details>"
        for sheet in folded
        if sheet.rows
    ]
    blocks += [f"*{escape(note)}*" for note in notes]
    return "\n\n".join(blocks) + "\n"


def _section(sheet: Sheet) -> str:
    caption = f"\n\n<sub>{escape(sheet.caption)}</sub>" if sheet.caption else ""
    return f"**{escape(sheet.title)}**\n\n{_table(sheet)}{caption}"


def _table(sheet: Sheet) -> str:
    header = [escape(column.title) for column in sheet.columns]
    rule = ["---:" if column.numeric else ":---" for column in sheet.columns]
    body = [[MARKS[cell.tone] + escape(cell.text) for cell in cells] for cells in sheet.rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in (header, rule, *body))
