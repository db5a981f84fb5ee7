"""Is every prox the minimiser? Each against brute force, on both sides of its convexity bound.

For random inputs x the objective step r(v) + |v - x|^2 / 2 at v = prox(x) is compared, in float64, with the least
one on a grid that is refined around its best point: a line for penalties on single weights, a plane for those that
couple the entries of a row. The excess is how much the prox is worse than the grid; at most rounding is allowed.

    python benchmarks/prox_proofs.py --json prox_proofs.json
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from math import inf
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from compressor.files import write_text
from compressor.penalties import GROUP_PENALTIES, PENALTIES, group_penalty, penalty

# Options beside the defaults.
OTHERS: dict[str, list[dict[str, float | str]]] = {
    "l1-l2": [{"alpha": 0.5}, {"over": "channel"}],
    "lp": [{"p": "2/3"}],
    "mcp": [{"a": 1.5}, {"a": 10.0}],
    "scad": [{"a": 2.5}, {"a": 10.0}],
    "transformed-l1": [{"a": 0.1}, {"a": 10.0}],
}
STEPS = [1e-4, 0.01, 0.1, 0.5, 1.0, 2.0, 5.0]
AROUND_THE_BOUND = [0.5, 0.9, 1.0, 1.1, 2.0]
ENDS = 6.0
POINTS = {1: 12_001, 2: 241}
REFINEMENTS = 4


@dataclass(frozen=True)
class Proof:
    """What was tried with one penalty, and the worst of it."""

    penalty: str
    options: dict[str, Any]
    bound: float
    steps: int
    cases: int
    excess: float
    float32: float


def candidates() -> Iterator[tuple[str, Any]]:
    """Every registered penalty that has a prox, by its name, at its defaults and with other options."""
    for name in sorted(PENALTIES):
        yield from ((name, penalty(name, **options)) for options in [{}, *OTHERS.get(name, [])])
    for name in sorted(GROUP_PENALTIES):
        for built in (group_penalty(name, **options) for options in [{}, *OTHERS.get(name, [])]):
            if hasattr(built, "prox"):
                yield f"group {name}", built


def cost(built: Any, step: float, points: Tensor, x: Tensor) -> Tensor:
    """The objective at every point, a row of ``points``."""
    value: Tensor = torch.vmap(lambda row: built.value(row[None]))(points)
    return step * value + 0.5 * (points - x).square().sum(1)


def least(built: Any, step: float, x: Tensor) -> float:
    """The least objective that brute force finds at one row ``x``."""
    best, ends, found = torch.zeros_like(x), ENDS, inf
    for refinement in range(REFINEMENTS):
        points = POINTS[len(x)] if refinement == 0 else 41
        axis = torch.linspace(-ends, ends, points, dtype=torch.float64)
        grid = best + torch.cartesian_prod(*[axis] * len(x)).reshape(-1, len(x))
        costs = cost(built, step, grid, x)
        found, best, ends = min(found, float(costs.amin())), grid[costs.argmin()], 2 * ends / (points - 1)
    return found


def prove(name: str, built: Any, inputs: int, seed: int) -> Proof:
    """Compare one penalty with brute force."""
    inner = getattr(built, "phi", built)
    bound = inner.convex_up_to
    steps = STEPS + [bound * factor for factor in AROUND_THE_BOUND if 0 < bound < inf]
    entries = 1 if built is inner and inner.separable else 2
    generator = torch.Generator().manual_seed(seed)
    excess = float32 = 0.0
    for step in steps:
        rows = (2 * torch.randn(inputs, entries, generator=generator)).clamp(-ENDS, ENDS)
        for row in rows.double():
            excess = max(excess, float(cost(built, step, built.prox(row[None], step), row)) - least(built, step, row))
        float32 = max(float32, float((built.prox(rows, step) - built.prox(rows.double(), step)).abs().max()))
    options = {part.name: getattr(inner, part.name) for part in fields(inner)}
    return Proof(name, options, bound, len(steps), inputs * len(steps), excess, float32)


def table(proofs: list[Proof]) -> str:
    """The proofs in Markdown."""
    lines = [
        "| penalty | options | convex up to | steps | cases | largest excess | float32 - float64 |",
        "|---|---|---|---|---|---|---|",
    ]
    for proof in proofs:
        options = ", ".join(
            f"{k} = {v:.3g}" if isinstance(v, float) else f"{k} = {v}" for k, v in proof.options.items()
        )
        lines.append(
            f"| {proof.penalty} | {options} | {proof.bound:.4g} | {proof.steps} | {proof.cases} "
            f"| {proof.excess:.1e} | {proof.float32:.1e} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Prove all, print the table, write the document."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=int, default=40, help="random inputs for every step")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="write the figures here")
    args = parser.parse_args()
    proofs = [prove(name, built, args.inputs, args.seed) for name, built in candidates()]
    print(table(proofs))
    worst = max(proof.excess for proof in proofs)
    print(f"\n{sum(proof.cases for proof in proofs):,} cases; the largest excess of all is {worst:.1e}.")
    if args.json is not None:
        # JSON has no infinity.
        rows = [{**asdict(p), "bound": None if p.bound == inf else p.bound} for p in proofs]
        write_text(args.json, json.dumps({"inputs": args.inputs, "seed": args.seed, "proofs": rows}, indent=2) + "\n")


if __name__ == "__main__":
    main()
