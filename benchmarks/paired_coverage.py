"""How often 95 % intervals for the accuracy that one network loses against another hold the truth.

    python benchmarks/paired_coverage.py            # the tables of docs/gates.md, about a minute
    python benchmarks/paired_coverage.py --draws 500

Both networks see the same ``n`` images; on a share of them, the discordant ones, only one of the two is right. Every
draw is one such test part. Compared are Tango's score interval, which `compress compare` uses; Newcombe's square and
add for pairs (Statistics in Medicine 17, 1998, p. 2635, method 10); Bonett and Price's adjusted Wald interval (British
Journal of Mathematical and Statistical Psychology 65, 2012); and the interval for two independent samples, which
reports without outcomes get.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import hypot, sqrt

import numpy as np

from compressor.records import Interval
from compressor.report.paired import Pairs, Z, paired_interval, samples_needed
from compressor.training.evaluation import accuracy_of

ACCURACY = 0.95  # of the old network
SAMPLES = (359, 10_000, 50_000)
DISCORDANT = (0.0, 0.001, 0.005, 0.01, 0.02, 0.05)
DROPS = (0.0, 0.005)

Cells = tuple[int, int, int, int]
"""Samples that both get right, the old network alone, the new one alone, and none."""


def tango(cells: Cells) -> Interval:
    """What `compress compare` uses."""
    return paired_interval(Pairs(cells[1], cells[2], sum(cells)))


def bonett_price(cells: Cells) -> Interval:
    """Wald's interval with one more sample in each discordant cell."""
    _, lost, won, _ = cells
    n = sum(cells) + 2
    a, b = (lost + 1) / n, (won + 1) / n
    reach = Z * sqrt((a + b - (a - b) ** 2) / n)
    return max(-1.0, a - b - reach), min(1.0, a - b + reach)


def newcombe(cells: Cells) -> Interval:
    """Two Wilson intervals, squared and added with their correlation."""
    both, lost, won, neither = cells
    margins = (both + lost) * (won + neither) * (both + won) * (lost + neither)
    cross = both * neither - lost * won
    phi = max(cross - sum(cells) / 2, 0) if cross > 0 else cross
    return _hybrid(cells, phi / sqrt(margins) if margins else 0.0)


def independent(cells: Cells) -> Interval:
    """The same as if the two had seen different samples."""
    return _hybrid(cells, 0.0)


def _hybrid(cells: Cells, phi: float) -> Interval:
    both, lost, won, _ = cells
    n, drop = sum(cells), (lost - won) / sum(cells)
    old, new = accuracy_of((both + lost) / n, n), accuracy_of((both + won) / n, n)
    assert old.ci95 is not None
    assert new.ci95 is not None

    def reach(up: float, down: float) -> float:
        return sqrt(max(0.0, hypot(up, down) ** 2 - 2 * phi * up * down))

    return (
        drop - reach(old.value - old.ci95[0], new.ci95[1] - new.value),
        drop + reach(old.ci95[1] - old.value, new.value - new.ci95[0]),
    )


METHODS: dict[str, Callable[[Cells], Interval]] = {
    "Tango": tango,
    "Newcombe": newcombe,
    "Bonett-Price": bonett_price,
    "independent": independent,
}


@dataclass(frozen=True)
class Coverage:
    """Of one interval: shares of the draws that hold the truth, and whose upper end lies below it; mean upper end."""

    held: float
    too_low: float
    upper: float


def coverage(
    interval: Callable[[Cells], Interval], n: int, discordant: float, drop: float, draws: int, seed: int = 0
) -> Coverage:
    """How ``interval`` does on ``draws`` test parts of ``n`` samples with these shares."""
    lost, won = (discordant + drop) / 2, (discordant - drop) / 2
    shares = (ACCURACY - lost, lost, won, 1 - ACCURACY - won)
    drawn = np.random.default_rng(seed).multinomial(n, shares, size=draws)
    cells, counts = np.unique(drawn, axis=0, return_counts=True)
    ends = np.array([interval((int(a), int(b), int(c), int(d))) for a, b, c, d in cells])
    weights, truth = counts / draws, drop + np.array((1e-12, -1e-12))
    held = (ends[:, 0] <= truth[0]) & (ends[:, 1] >= truth[1])
    return Coverage(
        held=float(weights @ held), too_low=float(weights @ (ends[:, 1] < truth[1])), upper=float(weights @ ends[:, 1])
    )


def cases() -> Iterator[tuple[int, float, float]]:
    """Samples, discordant share and drop."""
    return ((n, share, drop) for n in SAMPLES for share in DISCORDANT for drop in DROPS if drop <= share)


def coverage_table(draws: int) -> Iterator[str]:
    """For each case in per cent: coverage, in brackets how often the upper end is too low, and the mean upper end."""
    yield f"| images | discordant | true drop | {' | '.join(METHODS)} |"
    yield "|---:|---:|---:|" + "---:|" * len(METHODS)
    for n, share, drop in cases():
        found = [coverage(method, n, share, drop, draws) for method in METHODS.values()]
        cells = [f"{100 * one.held:.1f} ({100 * one.too_low:.1f}), {100 * one.upper:.2f}" for one in found]
        yield f"| {n:,} | {100 * share:g} % | {100 * drop:g} | {' | '.join(cells)} |"


def answer_table() -> Iterator[str]:
    """What the gate says of test parts without a drop: the least limit that holds, and the images 0.5 points need."""
    yield "| images | discordant | least `--max-drop` that holds | the same, independent | images that 0.5 needs |"
    yield "|---:|---:|---:|---:|---:|"
    for n in SAMPLES:
        for half in dict.fromkeys(round(share * n / 2) for share in DISCORDANT):
            right = round(ACCURACY * n) - half
            upper, apart = (
                100 * interval((right, half, half, n - right - 2 * half))[1] for interval in (tango, independent)
            )
            needed = samples_needed(Pairs(half, half, n), 0.005)
            yield f"| {n:,} | {200 * half / n:.2g} % | {upper:.2f} | {apart:.2f} | {needed:,} |"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=5000, help="test parts a case")
    for table in (coverage_table(parser.parse_args().draws), answer_table()):
        print(*table, sep="\n", end="\n\n", flush=True)
