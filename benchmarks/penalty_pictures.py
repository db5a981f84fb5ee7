"""Draws what every prox does to a weight: docs/penalties.png.

Both axes are in units of the threshold, the largest weight that becomes zero, so that the curves compare.

    python benchmarks/penalty_pictures.py --out docs/penalties.png
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import torch
from torch import Tensor

from compressor.penalties import penalty

END = 4.2
X = torch.linspace(0, END, 4201, dtype=torch.float64)
# Entries beside x in the tensor on which l1-l2 is shown, in units of the step.
OTHERS = [1.5, 1.5, 1.5]
COLORS = {
    "l0": "#222222",
    "l1": "#d1495b",
    "l1-l2": "#8f5bb5",
    "lp": "#c98a00",
    "mcp": "#1b998b",
    "scad": "#2f6fb7",
    "transformed-l1": "#7a9a01",
}


@dataclass(frozen=True)
class Curve:
    """One line: prox(x) over x, both in units of the threshold."""

    name: str
    label: str
    y: Tensor
    style: Any = "-"
    width: float = 2.0


def separable(
    name: str, step: float, label: str, style: str = "-", width: float = 2.0, **options: float | str
) -> Curve:
    """The prox of a separable penalty."""
    built: Any = penalty(name, **options)
    threshold = built.threshold(step)
    return Curve(name, label, built.prox(X * threshold, step) / threshold, style, width)


def l1_minus_l2() -> Curve:
    """The prox of l1-l2 in one entry of a small tensor."""
    built = penalty("l1-l2")
    others = torch.tensor(OTHERS, dtype=torch.float64)
    return Curve(
        "l1-l2", "l1-l2, alpha = 1 (bound 0), beside three entries of 1.5", entry(built.prox, others), (0, (5, 1.5))
    )


def entry(prox: Callable[[Tensor, float], Tensor], others: Tensor) -> Tensor:
    """What becomes of x beside ``others``, at step 1."""
    return torch.stack([prox(torch.cat([x[None], others]), 1.0)[0] for x in X])


def below() -> list[Curve]:
    """Steps within the convexity bound, and l1, which has none."""
    return [
        separable("scad", 1.0, "scad, a = 3.7, step 1 (bound 2.7)", width=4.5),
        separable("mcp", 1.0, "mcp, a = 3, step 1 (bound 3)"),
        separable("transformed-l1", 0.75, "transformed-l1, a = 3, step 0.75 (bound 1.125)", a=3),
        separable("l1", 1.0, "l1 (no bound)"),
    ]


def above() -> list[Curve]:
    """Steps beyond the convexity bound, and the penalties whose bound is 0."""
    return [
        separable("scad", 3.2, "scad, a = 3.7, step 3.2 (bound 2.7)", width=4.5),
        separable("l0", 0.5, "l0 (bound 0); mcp beyond its bound"),
        separable("transformed-l1", 1.0, "transformed-l1, a = 1, step 1 (bound 0.25)"),
        separable("lp", 1.0, "lp, p = 1/2 (bound 0)"),
        separable("lp", 1.0, "lp, p = 2/3 (bound 0)", style="--", p="2/3"),
        l1_minus_l2(),
    ]


def draw(axes: Any, title: str, curves: list[Curve], end: float) -> None:
    """One panel; jumps are dotted."""
    axes.plot(X, X, color="#b5b5b5", linewidth=1)
    axes.annotate(
        "no penalty", (0.12 * end, 0.15 * end), color="#8a8a8a", rotation=45, ha="center", va="center", fontsize=9
    )
    for curve in curves:
        y, color = curve.y.clone(), COLORS[curve.name]
        for place in (y.diff() > 0.05).nonzero().flatten().tolist():
            axes.plot(X[[place, place + 1]], curve.y[[place, place + 1]], color=color, linestyle=":", linewidth=1.2)
            y[place] = float("nan")
        axes.plot(X, y, color=color, linestyle=curve.style, linewidth=curve.width, label=curve.label)
    axes.set_title(title, loc="left", fontsize=11)
    axes.set(xlabel="weight before, in thresholds", ylabel="weight after, in thresholds")
    axes.set(xlim=(0, end), ylim=(-0.015 * end, end), aspect="equal")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="#ececec", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.legend(loc="upper left", frameon=False, fontsize=8.5, borderaxespad=0.2, handlelength=2.4)


def main() -> None:
    """Draw both panels."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("docs/penalties.png"))
    args = parser.parse_args()
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 5.8), layout="constrained")
    draw(left, "Within the convexity bound: no jump", below(), END)
    draw(right, "Beyond the convexity bound: most jump", above(), 3.0)
    figure.savefig(args.out, dpi=150, bbox_inches="tight", metadata={"Software": None})


if __name__ == "__main__":
    main()
