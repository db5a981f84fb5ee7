"""What every reproduction hands over: its tables on the screen, the same as JSON, and a chart.

A script builds a `Reproduction`, draws a matplotlib `Figure` and calls `publish`; `NAME.json` and `NAME.png` land in
--out (default results/NAME), each whole or not at all. Scripts import this file by its bare name: Python puts the
script's own folder on the path, and pytest does the same (`pythonpath` in pyproject.toml).
"""

from __future__ import annotations

import argparse
import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import torch
from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table

import compressor
from compressor.files import atomic_path, write_text

Row = Mapping[str, Any]
"""One row of a table: column heading -> number, text, yes or no, or None where there is nothing to say."""

# Without a terminal nobody sees where lines break, so rows stay whole.
FILE_WIDTH = 200


@dataclass(frozen=True, kw_only=True)
class Reproduction:
    """What was run and what came out; ``tables`` maps a title to rows that share their columns."""

    name: str
    settings: Mapping[str, Any]
    tables: Mapping[str, Sequence[Row]]
    wall_s: float

    def document(self) -> dict[str, Any]:
        """The result for machines; it names no computer and no path."""
        return {
            "kind": "reproduction",
            "name": self.name,
            "settings": dict(self.settings),
            "tables": {title: [dict(row) for row in rows] for title, rows in self.tables.items()},
            "wall_s": round(self.wall_s, 1),
            "threads": torch.get_num_threads(),
            "versions": {
                "compressor": compressor.__version__,
                "python": platform.python_version(),
                "torch": torch.__version__,
                "numpy": np.__version__,
                "matplotlib": matplotlib.__version__,
            },
        }


def command_line(name: str, doc: str | None, *, seeds: int) -> argparse.ArgumentParser:
    """A parser with --out and --seeds, to which a script adds its own options."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("results") / name, help="folder for the JSON and the chart")
    parser.add_argument("--seeds", type=positive, default=seeds, help=f"independent repetitions (default {seeds})")
    return parser


def positive(text: str) -> int:
    """An option's whole number from 1 on; argparse turns the error into one line."""
    if not (text.isascii() and text.isdigit() and int(text) > 0):
        raise argparse.ArgumentTypeError(f"must be a whole number from 1 on, got {text!r}")
    return int(text)


def publish(result: Reproduction, figure: Figure, out: Path) -> None:
    """Print the tables; write ``NAME.json`` and ``NAME.png`` into ``out``."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = FILE_WIDTH
    for title, rows in result.tables.items():
        console.print(_table(title, rows))
    document = json.dumps(result.document(), indent=2, ensure_ascii=False, allow_nan=False)
    write_text(out / f"{result.name}.json", document + "\n")
    with atomic_path(out / f"{result.name}.png") as chart:
        figure.savefig(chart, format="png", dpi=100)
    console.print(f"{result.wall_s:.1f} s; wrote {out / result.name}.json and .png", markup=False)


def _table(title: str, rows: Sequence[Row]) -> Table:
    table = Table(title=title, title_justify="left")
    for heading, first in rows[0].items():
        table.add_column(heading, justify="left" if isinstance(first, str) else "right")
    for row in rows:
        table.add_row(*(_cell(value) for value in row.values()))
    return table


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
