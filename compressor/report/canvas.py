"""A canvas whose SVG takes its colours and font from the page, so that charts follow light and dark.

Drawn without pyplot: no global figure, no display. Equal drawings give equal bytes.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Stand-ins that matplotlib understands; in the SVG each becomes the page's variable of that name.
COLOURS = {
    "ink": "#1f2328",
    "muted": "#6b7280",
    "line": "#d4d7dc",
    "accent": "#2f6f9f",
    "faint": "#b9cfdf",
    "good": "#2c7a4b",
    "bad": "#b4362f",
    "open": "#a06a00",
}
INK, MUTED, LINE, ACCENT, FAINT = (COLOURS[name] for name in ("ink", "muted", "line", "accent", "faint"))
WIDTH = 4.8


@contextmanager
def canvas(name: str, height: float) -> Iterator[tuple[Figure, list[str]]]:
    """A figure to draw on; when the block ends its SVG is the only item of the list."""
    import matplotlib
    from matplotlib.figure import Figure

    svg: list[str] = []
    with matplotlib.rc_context(), warnings.catch_warnings():
        # The user's own matplotlibrc must not change the report.
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_style(name))
        # A glyph missing here is not missing in the reader's browser, which sets the text; and what is odd in a
        # document, such as numbers of any size, is no business of the terminal.
        warnings.simplefilter("ignore")
        figure = Figure(figsize=(WIDTH, height), layout="constrained")
        yield figure, svg
        buffer = io.StringIO()
        nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        figure.savefig(buffer, format="svg", transparent=True, metadata=nothing)
    svg.append(_themed(buffer.getvalue()))


def _style(name: str) -> dict[Any, Any]:
    return {
        "svg.hashsalt": name,  # also keeps the ids of two charts on one page apart
        "svg.fonttype": "none",
        "text.parse_math": False,
        "font.family": "sans-serif",
        "font.sans-serif": ["DejaVu Sans"],
        "font.size": 10,
        "text.color": INK,
        "axes.edgecolor": LINE,
        "axes.labelcolor": MUTED,
        "axes.labelsize": 9,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.axisbelow": True,
        "xtick.color": LINE,
        "ytick.color": LINE,
        "xtick.labelcolor": INK,
        "ytick.labelcolor": INK,
        "xtick.labelsize": 9,
        "ytick.labelsize": 9,
        "grid.color": LINE,
        "grid.linewidth": 0.6,
        "legend.frameon": False,
        "legend.fontsize": 9,
    }


def _themed(svg: str) -> str:
    """The bare ``<svg>`` element with the page's colours and font, and without ids nobody refers to."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'<g id="[^"]*"', "<g", svg)
    svg = re.sub(r' (?:width|height)="[^"]*pt"', "", svg, count=2)
    svg = re.sub(r"'DejaVu Sans'[^;\"]*", "var(--font)", svg)
    for name, colour in COLOURS.items():
        svg = svg.replace(colour, f"var(--{name})")
    return svg
