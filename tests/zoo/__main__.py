"""The zoo as a table: ``python tests/zoo [markdown file]``."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.table import Table
from zoo_networks import PATTERNS
from zoo_tools import seeded, with_zeros

from compressor.errors import EquivalenceError
from compressor.export import export_onnx
from compressor.groups import find_groups
from compressor.shrinking import remove_zero_channels

COLUMNS = ("pattern", "groups (channels)", "excluded, and why", "difference in float64", "in float32", "ONNX parity")


def row(pattern):
    """One pattern in words."""
    found = find_groups(seeded(pattern), pattern.inputs())
    groups = ", ".join(f"{group.name} ({group.channels})" for group in found if group.prunable)
    excluded = {group.name: group.excluded for group in found if not group.prunable}
    told = {name: why for name, why in excluded.items() if name in pattern.refused}
    words = "; ".join(f"{name}: {why}" for name, why in told.items())
    if not groups:
        return pattern.name, "-", words, "-", "-", "-"
    model, prunable = with_zeros(pattern)
    shrunk = remove_zero_channels(model, pattern.inputs(), groups=prunable, align=1)
    parity = onnx_parity(pattern, shrunk.model)
    return pattern.name, groups, words, f"{shrunk.removal.float64:.1e}", f"{shrunk.removal.float32:.1e}", parity


def onnx_parity(pattern, model):
    """The norm of the difference over that of the output, or why there is no file."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            exported = export_onnx(model, pattern.inputs(), f"{folder}/x.onnx")
        except EquivalenceError as error:
            return str(error)
    return f"{exported.parity.norm_rel:.1e} ({exported.exporter})"


def main():
    """Print the table; write it as Markdown when a file is named."""
    rows = [row(pattern) for pattern in PATTERNS]
    table = Table(*COLUMNS)
    for cells in rows:
        table.add_row(*cells)
    Console(width=200).print(table)
    if sys.argv[1:]:
        lines = [COLUMNS, ("---",) * len(COLUMNS), *rows]
        Path(sys.argv[1]).write_text("".join(f"| {' | '.join(cells)} |\n" for cells in lines), encoding="utf-8")


if __name__ == "__main__":
    main()
