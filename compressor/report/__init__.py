"""Results as JSON, terminal tables, Markdown and HTML."""

from __future__ import annotations

from compressor.report.compare import Labelled, SideBySide, check_gates, compare
from compressor.report.documents import Document, environments_differ, read_document, write_document
from compressor.report.headline import headline, summary_lines

__all__ = [
    "Document",
    "Labelled",
    "SideBySide",
    "check_gates",
    "compare",
    "environments_differ",
    "headline",
    "read_document",
    "summary_lines",
    "write_document",
]
