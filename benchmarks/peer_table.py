"""Tables of the comparison: every method at its best setting, and ours beside the best of the others."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean, stdev

from peer_cells import Cell, chosen

from compressor.benchmarking.statistics import student_quantile

HEAD = (
    "method", "MACs", "parameters", "latency / dense", "nothing trained", "after sparse training", "after removal",
    "in the end", "training, s (processor)", "seeds",
)  # fmt: skip
Compared = Callable[[Cell, Sequence[Cell]], float | None]


@dataclass(frozen=True)
class Paired:
    """A mean of ``n`` differences and its 95 % interval, Student's; no interval of a single one."""

    mean: float
    low: float | None
    high: float | None
    n: int

    def __str__(self) -> str:
        interval = "" if self.low is None or self.high is None else f" [{self.low:+.2f}, {self.high:+.2f}]"
        return f"{self.mean:+.2f}{interval}, n = {self.n}"


def paired(differences: Sequence[float]) -> Paired | None:
    """The mean of ``differences``; None of none."""
    if not differences:
        return None
    mean, n = fmean(differences), len(differences)
    if n == 1:
        return Paired(mean, None, None, 1)
    half = student_quantile(0.975, n - 1) * stdev(differences) / math.sqrt(n)
    return Paired(mean, mean - half, mean + half, n)


def interpolated(points: Iterable[tuple[float, float]], at: float) -> float | None:
    """The accuracy at latency ``at`` on the curve through (latency, accuracy), straight over the logarithm of latency.

    None outside of the curve; of points at one latency the best counts.
    """
    curve = sorted(dict(sorted(points)).items())
    for place, accuracy in curve:
        if place == at:
            return accuracy
    for (left, low), (right, high) in pairwise(curve):
        if left < at < right:
            return low + (high - low) * math.log(at / left) / math.log(right / left)
    return None


def at_equal_macs(one: Cell, others: Sequence[Cell]) -> float | None:
    """The accuracy of the method of ``others`` at the same target with the same seed."""
    found = [c.accuracy.final for c in others if (c.key.target, c.key.seed) == (one.key.target, one.key.seed)]
    return found[0] if found else None


def at_equal_latency(one: Cell, others: Sequence[Cell]) -> float | None:
    """The accuracy of the method of ``others``, with the same seed, at the measured latency of ``one``."""
    if one.latency is None:
        return None
    same = [c for c in others if c.key.seed == one.key.seed and c.latency is not None]
    return interpolated([(c.latency.ratio, c.accuracy.final) for c in same if c.latency], one.latency.ratio)


def is_ours(cell: Cell) -> bool:
    """Whether this project made it."""
    return cell.key.method.startswith("ours")


def by_method(cells: Iterable[Cell]) -> dict[str, list[Cell]]:
    """In the order of the first cells."""
    groups: dict[str, list[Cell]] = {}
    for cell in cells:
        groups.setdefault(cell.key.method, []).append(cell)
    return groups


def beside(ours: Sequence[Cell], cells: Iterable[Cell], compared: Compared) -> tuple[str, list[float]] | None:
    """The best other method for these cells of one of our methods, network and target, and the differences in points.

    The best is that of the highest mean over the same seeds, which favours the others: it is chosen by the test part.
    None where no method can be compared.
    """
    found: dict[str, list[float]] = {}
    for method, theirs in by_method(cell for cell in cells if not is_ours(cell)).items():
        values = [compared(one, theirs) for one in ours]
        differences = [100 * (one.accuracy.final - v) for one, v in zip(ours, values, strict=True) if v is not None]
        if differences:
            found[method] = differences
    most = max((len(differences) for differences in found.values()), default=0)
    whole = {method: differences for method, differences in found.items() if len(differences) == most}
    return min(whole.items(), key=lambda item: fmean(item[1])) if whole else None


def document(cells: Iterable[Cell]) -> str:
    """All tables as Markdown."""
    kept = sorted(chosen(cells), key=lambda cell: cell.key)
    networks = sorted({cell.key.network for cell in kept})
    parts = [summary(kept)]
    for network in networks:
        same = [cell for cell in kept if cell.key.network == network]
        for target in sorted({cell.key.target for cell in same}):
            rows = [cell for cell in same if cell.key.target == target]
            dense, n = 100 * rows[0].accuracy.dense, rows[0].samples
            parts.append(f"### {network}, {target:g}x fewer MACs\n\nDense: {dense:.2f} % of {n:,} test images.\n")
            parts.append(table(HEAD, (row(*item) for item in by_method(rows).items())))
    return "\n".join(parts)


def summary(cells: Sequence[Cell]) -> str:
    """Ours beside the best of the others, in each network at each target, and over all of them."""
    lines = []
    for name, compared in (("equal MACs", at_equal_macs), ("equal latency", at_equal_latency)):
        for method in sorted({cell.key.method for cell in cells if is_ours(cell)}):
            if method == "ours-latency" and compared is at_equal_macs:
                continue
            every: list[float] = []
            for network, target in sorted({(c.key.network, c.key.target) for c in cells if c.key.method == method}):
                same = [cell for cell in cells if cell.key.network == network]
                ours = [cell for cell in same if (cell.key.method, cell.key.target) == (method, target)]
                found = beside(ours, same, compared)
                if found is not None:
                    every += found[1]
                    lines.append((name, method, network, f"{target:g}x", found[0], str(paired(found[1]))))
            if every:
                lines.append((name, method, "**all**", "", "the best of each", f"**{paired(every)}**"))
    head = ("at", "ours", "network", "target", "best of the others", "difference in points")
    return table(head, lines)


def row(method: str, cells: Sequence[Cell]) -> tuple[str, ...]:
    """One method: means over seeds, with the standard deviation where there are several."""
    first, steps = cells[0], [cell.accuracy for cell in cells]
    setting = "" if first.key.setting == "default" else f" ({first.key.setting})"
    return (
        f"{method}{setting}",
        spread([100 * cell.kept for cell in cells], 1) + " %",
        spread([100 * cell.parameters[1] / cell.parameters[0] for cell in cells], 1) + " %",
        _latency(cells),
        spread([100 * one.untrained for one in steps if one.untrained is not None], 2),
        spread([100 * one.sparse for one in steps if one.sparse is not None], 2),
        spread([100 * one.removed for one in steps if one.removed is not None], 2),
        spread([100 * one.final for one in steps], 2),
        f"{fmean(c.seconds.wall for c in cells):.0f} ({fmean(c.seconds.processor for c in cells):.0f})",
        str(len(cells)),
    )


def _latency(cells: Sequence[Cell]) -> str:
    known = [cell.latency for cell in cells if cell.latency is not None]
    if len(known) == 1:
        low, high = known[0].ci95
        return f"{known[0].ratio:.3f} [{low:.3f}–{high:.3f}]"
    return spread([one.ratio for one in known], 3)


def spread(values: Sequence[float], digits: int) -> str:
    """The mean, and the standard deviation of several; a dash for none."""
    if not values:
        return "—"
    mean = f"{fmean(values):.{digits}f}"
    return mean if len(values) == 1 else f"{mean} ± {stdev(values):.{digits}f}"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown."""

    def lines() -> Iterator[str]:
        yield from ("| " + " | ".join(head) + " |", "|" + "---|" * len(head))
        for cells in rows:
            yield "| " + " | ".join(cells) + " |"

    return "\n".join(lines()) + "\n"
