"""Documents as one self-contained HTML page: no script, no request to anywhere, light and dark, printable."""

from __future__ import annotations

from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined, Template, select_autoescape

from compressor.report.compare import Labelled
from compressor.report.documents import Document
from compressor.report.page import Page, benchmark_page, comparison_page, run_page
from compressor.report.wording import plain

TEMPLATE = "report.html.j2"


def document_html(document: Document) -> str:
    """A run or a benchmark as a page."""
    return render(run_page(document) if document["kind"] == "run" else benchmark_page(document))


def comparison_html(labelled: Labelled) -> str:
    """Several labelled documents side by side as a page."""
    return render(comparison_page(labelled))


def render(page: Page) -> str:
    """Fill the template; everything but the charts is escaped."""
    return _template().render(page=page)


def prose(text: object) -> str:
    """One line of text whose per cent signs stay with their numbers."""
    return plain(text).replace(" %", "\u00a0%")


@cache
def _template() -> Template:
    environment = Environment(
        loader=PackageLoader("compressor.report", ""),
        # By its default, which looks at the last extension only, nothing in a .j2 file would be escaped.
        autoescape=select_autoescape(enabled_extensions=("html.j2",), default=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["prose"] = prose
    return environment.get_template(TEMPLATE)
