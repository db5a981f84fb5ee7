"""Reports as terminal tables, Markdown and HTML."""

from __future__ import annotations

from compressor.report.gates import check_gates
from compressor.report.headline import finding_lines, headline
from compressor.report.side_by_side import Labelled, SideBySide, compare_reports, environments_differ

__all__ = [
    "Labelled",
    "SideBySide",
    "check_gates",
    "compare_reports",
    "environments_differ",
    "finding_lines",
    "headline",
]
