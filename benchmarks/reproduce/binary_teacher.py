r"""Does the coarse gradient learn a sparse teacher whose activation is binary and has no useful derivative?

The network of Dinh and Xin (arXiv 1901.09731) has k non-overlapping patches Z_1..Z_k of standard normal input, one
filter w and the activation s(x) = 1 for x > 0, else 0; f(w) = E[(sum_j s(w . Z_j) - sum_j s(w* . Z_j))^2] / 2. The
coarse gradient puts relu' in the place of s'. In closed form, with theta the angle between w and w*:

.. math:: f(w) = k \theta / (2 \pi),  E[g] = \frac{k}{2 \sqrt{2 \pi}} (w / \|w\| - w^* / \|w^*\|)

Each step is one of relaxed variable splitting along g, and then w is divided by its norm. The same is run with g
from sampled mini-batches.

    python benchmarks/reproduce/binary_teacher.py --seeds 10 --out results/binary_teacher
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial
from math import pi, sqrt
from typing import Any

import torch
from matplotlib.figure import Figure
from results import Reproduction, command_line, positive, publish
from teacher_student import Descent, Rows, Splitting, angle, descend, draw, norms, plot_descents, same_support, unit
from torch import Tensor

NAME = "binary_teacher"
D, K, SUPPORT, ETA, BETA = 50, 10, 5, 0.01, 0.1
CASES = [("l1", 1e-2), ("l0", 1e-3), ("transformed-l1", 1e-2)]
# Each step, and the batch with it; no batch is the population.
VARIANTS: list[tuple[float, int | None]] = [(ETA, None), (ETA / 10, None), (ETA, 16), (ETA, 128)]
COLORS = (
    *("navy", "saddlebrown", "darkgreen", "tab:blue", "tab:orange", "tab:green"),
    *("plum", "violet", "orchid", "silver", "darkgray", "gray"),
)
ALLOWED_INCREASE = 1e-6


def loss(w: Tensor, teacher: Tensor, *, k: int) -> Tensor:
    """f(w) for each row of (rows, d)."""
    return k * angle(w, teacher) / (2 * pi)


def coarse_gradient(w: Tensor, teacher: Tensor, *, k: int) -> Tensor:
    """E[g] for each row that is not zero."""
    return k / (2 * sqrt(2 * pi)) * (unit(w) - unit(teacher))


def potential(w: Tensor, teacher: Tensor, *, k: int) -> Tensor:
    """What E[g] descends on the unit sphere: its gradient there is E[g]'s part along the sphere, f's is not."""
    return _potential(angle(w, teacher), k=k)


def _potential(theta: Tensor, *, k: int) -> Tensor:
    return k / (2 * sqrt(2 * pi)) * (1 - theta.cos())


def sampled_gradient(w: Tensor, teacher: Tensor, *, k: int, batch: int, generator: torch.Generator) -> Tensor:
    """The mean of g over a fresh batch for each row: the straight-through estimator on real inputs."""
    rows, d = w.shape
    z = torch.randn(rows, batch, k, d, generator=generator, dtype=w.dtype)
    on = (torch.einsum("rbkd,rd->rbk", z, w) > 0).to(w.dtype)
    wanted = (torch.einsum("rbkd,rd->rbk", z, teacher) > 0).to(w.dtype)
    error = (on - wanted).sum(2, keepdim=True)
    return torch.einsum("rbkd,rbk->rd", z, on * error) / batch


def tangential_residual(w: Tensor, u: Tensor, *, teacher: Tensor, k: int, beta: float) -> Tensor:
    """How far E[g] + beta (w - u) is from being parallel to w, as it is where the method rests; per row."""
    force = coarse_gradient(w, teacher, k=k) + beta * (w - u)
    along = unit(w)
    return norms(force - (force * along).sum(1, keepdim=True) * along)


def run(splitting: Splitting, start: Tensor, teacher: Tensor, *, iterations: int, gradient: Rows) -> Descent:
    """Descend on the sphere from ``start`` along ``gradient``."""
    return descend(
        splitting,
        start,
        loss=partial(loss, teacher=teacher, k=K),
        gradient=gradient,
        iterations=iterations,
        watch={
            "angle": lambda w, u: angle(w, teacher),
            "residual": partial(tangential_residual, teacher=teacher, k=K, beta=splitting.beta),
        },
        retract=unit,
        every=1,
    )


def potential_lagrangian(descent: Descent) -> Tensor:
    """The Lagrangian with the potential of E[g] in the place of f."""
    theta = descent.watched["angle"]
    return descent.lagrangian - K * theta / (2 * pi) + _potential(theta, k=K)


def row(splitting: Splitting, batch: int | None, descent: Descent, teacher: Tensor) -> dict[str, Any]:
    """What one run reached; means over the seeds unless the heading says otherwise. No batch: the population."""
    w, u = descent.w, descent.u
    return {
        "penalty": splitting.penalty,
        "lambda": splitting.lam,
        "eta": splitting.eta,
        "batch": "population" if batch is None else str(batch),
        "iterations": len(descent.lagrangian) - 1,
        "steps up > 1e-6": int((descent.increases > ALLOWED_INCREASE).sum()),
        "largest increase": float(descent.increases.max()),
        "end above minimum": float((descent.lagrangian[-1] - descent.lagrangian.amin(0)).max()),
        "largest increase, potential": float(potential_lagrangian(descent).diff(dim=0).max()),
        "angle": float(angle(w, teacher).mean()),
        "zeros of u": float((u == 0).double().mean()),
        "|u - w*|": float(norms(u - teacher).mean()),
        "support exact": f"{int(same_support(u, teacher).sum())}/{len(u)}",
        "largest residual": float(descent.watched["residual"][-1].max()),
    }


def reproduce(*, seeds: int, iterations: int, sampled: int) -> tuple[list[dict[str, Any]], Figure]:
    """Run the population form, then each batch size; the rows of the table, and the chart."""
    teacher, start = draw(seeds, d=D, support=SUPPORT)
    rows, lines = [], {}
    for eta, batch in VARIANTS:
        for name, lam in CASES:
            splitting = Splitting(penalty=name, lam=lam, beta=BETA, eta=eta)
            gradient: Rows = partial(coarse_gradient, teacher=teacher, k=K)
            if batch is not None:
                # The same inputs for every penalty, so that the penalties compare.
                generator = torch.Generator().manual_seed(0)
                gradient = partial(sampled_gradient, teacher=teacher, k=K, batch=batch, generator=generator)
            steps = iterations if batch is None else sampled
            descent = run(splitting, start, teacher, iterations=steps, gradient=gradient)
            rows.append(row(splitting, batch, descent, teacher))
            lines[f"{name}, " + (f"η = {eta:g}" if batch is None else f"batches of {batch}")] = descent
    figure = Figure(figsize=(11, 5), layout="constrained")
    plot_descents(figure.subplots(1, 2), lines, colors=COLORS)
    return rows, figure


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the experiment, print its table, write its JSON and its chart."""
    parser = command_line(NAME, __doc__, seeds=10)
    parser.add_argument("--iterations", type=positive, default=20_000, help="of the population form (default 20000)")
    parser.add_argument("--sampled", type=positive, default=1_500, help="iterations with mini-batches (default 1500)")
    options = parser.parse_args(arguments)
    started = time.perf_counter()
    rows, figure = reproduce(seeds=options.seeds, iterations=options.iterations, sampled=options.sampled)
    settings = {"d": D, "k": K, "support": SUPPORT, "beta": BETA, "a": 1.0, "seeds": options.seeds}
    wall = time.perf_counter() - started
    tables = {"RVSCGD where it stopped": rows}
    publish(Reproduction(name=NAME, settings=settings, tables=tables, wall_s=wall), figure, options.out)


if __name__ == "__main__":
    main()
