"""A report as files: JSON for machines, HTML and Markdown for people."""

from __future__ import annotations

from pathlib import Path

from compressor.errors import UsageError
from compressor.files import refuse_existing, write_text
from compressor.report import Document, write_document


def check_report_path(path: Path, *, overwrite: bool) -> None:
    """Raise `UsageError` when ``path`` is no .json, or one of its files exists; call it before any work."""
    if path.suffix != ".json":
        raise UsageError(f"--out {path} must end in .json; .html and .md go beside it")
    for file in (path, path.with_suffix(".html"), path.with_suffix(".md")):
        refuse_existing(file, overwrite=overwrite)


def publish(document: Document, path: Path) -> list[Path]:
    """Write ``document`` to ``path`` (.json) and as .html and .md beside it; returns the files."""
    from compressor.report.html import document_html
    from compressor.report.markdown import document_markdown

    write_document(path, document)
    write_text(path.with_suffix(".html"), document_html(document))
    write_text(path.with_suffix(".md"), document_markdown(document))
    return [path, path.with_suffix(".html"), path.with_suffix(".md")]
