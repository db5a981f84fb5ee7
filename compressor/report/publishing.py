"""A report as files: JSON for machines, HTML and Markdown for people."""

from __future__ import annotations

from pathlib import Path

from compressor.codec import write_report
from compressor.files import write_text
from compressor.records.run import Report


def publish(report: Report, path: Path) -> list[Path]:
    """Write ``report`` to ``path`` (.json) and as .html and .md beside it; returns the files."""
    # The charts of the page need matplotlib, which takes long to import.
    from compressor.report.html import report_html
    from compressor.report.markdown import report_markdown

    write_report(path, report)
    write_text(path.with_suffix(".html"), report_html(report))
    write_text(path.with_suffix(".md"), report_markdown(report))
    return [path, path.with_suffix(".html"), path.with_suffix(".md")]
