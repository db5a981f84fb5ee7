r"""Can a student with one hidden layer learn a sparse teacher exactly, and when is the support right?

The network of Dinh and Xin (arXiv 1812.05719) has k non-overlapping patches Z_1..Z_k of standard normal input and one
filter w: h(Z, w) = (1/k) sum_j relu(w . Z_j); its loss f(w) = E[(h(Z, w) - h(Z, w*))^2] and gradient are closed forms
of the norms and of theta, the angle between w and w*. Relaxed variable splitting is run on them in float64 with this
package's own proxes. Where it stops, the limit relation holds:

.. math:: w^* = \frac{k\pi}{\pi - \theta} [A w + \beta (w - u)],  u = prox(w)

    python benchmarks/reproduce/relu_teacher.py --seeds 10 --out results/relu_teacher
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial
from math import pi
from typing import Any

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from results import Reproduction, command_line, positive, publish
from teacher_student import Descent, Splitting, angle, descend, draw, norms, plot_descents, same_support, unit
from torch import Tensor

NAME = "relu_teacher"
D, K, SUPPORT, ETA = 50, 10, 5, 0.1
CASES = [
    ("l1", 1e-4),
    ("l1", 1e-3),
    ("l0", 5e-5),
    ("l0", 2e-4),
    ("transformed-l1", 1e-4),
    ("transformed-l1", 5e-4),
]
BETA = 1e-2
CHECKPOINTS = (0, 100, 300, 1_000, 3_000)
CONVERGED = 1e-6

# The sweep of the smallest true weight: one threshold for all penalties, and the lambda / beta that gives it.
THRESHOLD = 0.1
STEPS = {"l1": THRESHOLD, "l0": THRESHOLD**2 / 2, "transformed-l1": THRESHOLD / 2}
COLORS = {"l1": "tab:blue", "l0": "tab:orange", "transformed-l1": "tab:green"}
CASE_COLORS = ("tab:blue", "navy", "tab:orange", "saddlebrown", "tab:green", "darkgreen")
SWEEP_BETAS = (0.01, 0.05)
SWEEP_ITERATIONS = 3_000


def loss(w: Tensor, teacher: Tensor, *, k: int) -> Tensor:
    """f(w) for each row of (rows, d)."""
    theta, norm, true_norm = angle(w, teacher), norms(w), norms(teacher)
    pairs = (k * k - k) / (2 * pi)
    overlap = norm * true_norm * (theta.sin() + (pi - theta) * theta.cos()) / (2 * pi)
    squares = (pairs + k / 2) * (norm**2 + true_norm**2)
    return (squares - 2 * k * overlap - 2 * pairs * norm * true_norm) / k**2


def pulls(w: Tensor, teacher: Tensor, *, k: int) -> tuple[Tensor, Tensor]:
    """A and c of grad f = A w - c w*, with c = (pi - theta) / (k pi); (rows, 1) each."""
    theta, ratio = angle(w, teacher), norms(teacher) / norms(w)
    a = 1 / k + (1 - 1 / k) / pi * (1 - ratio) - ratio * theta.sin() / (k * pi)
    return a[:, None], ((pi - theta) / (k * pi))[:, None]


def gradient(w: Tensor, teacher: Tensor, *, k: int) -> Tensor:
    """The gradient of `loss` for each row that is not zero."""
    a, c = pulls(w, teacher, k=k)
    return a * w - c * teacher


def limit_residual(w: Tensor, u: Tensor, *, teacher: Tensor, k: int, beta: float) -> Tensor:
    """How far each row is from the limit relation, in the 2-norm."""
    a, c = pulls(w, teacher, k=k)
    return norms((a * w + beta * (w - u)) / c - teacher)


def run(splitting: Splitting, start: Tensor, teacher: Tensor, *, iterations: int) -> Descent:
    """Descend from ``start`` and watch the angle and the residual of the limit relation."""
    return descend(
        splitting,
        start,
        loss=partial(loss, teacher=teacher, k=K),
        gradient=partial(gradient, teacher=teacher, k=K),
        iterations=iterations,
        watch={
            "angle": lambda w, u: angle(w, teacher),
            "residual": partial(limit_residual, teacher=teacher, k=K, beta=splitting.beta),
        },
    )


def first_converged(descent: Descent) -> int | None:
    """The iteration from which on the limit relation holds to 1e-6 in every seed; None: it does not."""
    worst = descent.watched["residual"].amax(1)
    late = (worst > CONVERGED).nonzero()
    first = int(late[-1]) + 1 if len(late) else 0
    return first * descent.every if first < len(worst) else None


def case_row(splitting: Splitting, descent: Descent, teacher: Tensor) -> dict[str, Any]:
    """What one setting reached; means over the seeds unless the heading says otherwise."""
    w, u = descent.w, descent.u
    return {
        "penalty": splitting.penalty,
        "lambda": splitting.lam,
        "largest increase": float(descent.increases.max()),
        "angle": float(angle(w, teacher).mean()),
        "zeros of u": float((u == 0).double().mean()),
        "|w - w*|": float(norms(w - teacher).mean()),
        "|u - w*|": float(norms(u - teacher).mean()),
        "support exact": f"{int(same_support(u, teacher).sum())}/{len(u)}",
        "largest residual": float(descent.watched["residual"][-1].max()),
        "residual <= 1e-6 from iteration": first_converged(descent),
    }


def angle_row(splitting: Splitting, descent: Descent) -> dict[str, Any]:
    """The mean angle on the way; the last column is how much it still moved in the last tenth of the run."""
    angles = descent.watched["angle"]
    tenth = -(len(angles) // 10) - 1
    seen = {
        str(at): float(angles[at // descent.every].mean()) for at in CHECKPOINTS if at // descent.every < len(angles)
    }
    last = {"end": float(angles[-1].mean()), "moved in the last tenth": float((angles[-1] - angles[tenth]).abs().max())}
    return {"penalty": splitting.penalty, "lambda": splitting.lam, **seen, **last}


def sweep_teachers(ratios: Tensor, each: int) -> tuple[Tensor, Tensor, Tensor]:
    """Unit teachers whose smallest weight is ``ratio`` times the threshold, students, and the ratio of each row."""
    generator = torch.Generator().manual_seed(0)
    ratio = ratios.repeat_interleave(each)
    rows, smallest = len(ratio), (ratio * THRESHOLD)[:, None]

    def uniform(columns: int) -> Tensor:
        return torch.rand(rows, columns, generator=generator, dtype=torch.float64)

    # Sizes between 1 and 2 keep the other weights above 0.27, clear of every threshold here.
    large = unit(1 + uniform(SUPPORT - 1)) * (1 - smallest**2).sqrt()
    signs = torch.where(uniform(SUPPORT) < 0.5, -1.0, 1.0)
    teacher = torch.nn.functional.pad(signs * torch.cat([smallest, large], 1), (0, D - SUPPORT))
    return teacher, unit(torch.randn(rows, D, generator=generator, dtype=torch.float64)), ratio


def sweep(name: str, beta: float, *, from_teacher: bool, each: int) -> tuple[dict[str, Any], tuple[Tensor, Tensor]]:
    """How often the support is exact around the threshold: a table row, and (ratios, rate at each) for the chart."""
    bound = 1 + K * beta
    coarse = torch.arange(0.8, bound + 0.2, 0.02, dtype=torch.float64)
    just_above = bound + torch.tensor([0.001, 0.002, 0.003, 0.005], dtype=torch.float64)
    ratios = torch.cat([coarse, just_above]).sort().values
    teacher, start, ratio = sweep_teachers(ratios, each)
    splitting = Splitting(penalty=name, lam=beta * STEPS[name], beta=beta, eta=ETA)
    descent = run(splitting, teacher if from_teacher else start, teacher, iterations=SWEEP_ITERATIONS)
    exact = same_support(descent.u, teacher)
    above, below = ratio > bound + 1e-9, ratio < 1 - 1e-9
    bins = {"below T": below, "between": ~above & ~below, "above (1 + k beta) T": above}
    # A killed entry rests at w* / factor, so it stays killed while w* is below factor thresholds.
    a, c = pulls(descent.w, teacher, k=K)
    factor = ((a + beta) / c)[~exact & ~below]
    row = {
        "penalty": name,
        "1 + k beta": bound,
        "start": "teacher" if from_teacher else "random",
        **{f"exact, {title}": f"{int(exact[chosen].sum())}/{int(chosen.sum())}" for title, chosen in bins.items()},
        "smallest exact": float(ratio[exact].min()) if exact.any() else None,
        "largest not exact": float(ratio[~exact].max()) if not exact.all() else None,
        "largest (A + beta) / c": float(factor.max()) if len(factor) else None,
        "largest residual": float(descent.watched["residual"][-1].max()),
    }
    return row, (ratios, exact.double().reshape(-1, each).mean(1))


def plot_sweep(axes: Axes, rates: Sequence[tuple[dict[str, Any], tuple[Tensor, Tensor]]], beta: float) -> None:
    """Rate of exact support over the smallest true weight, with both candidate conditions."""
    for row, (ratios, rate) in rates:
        style = "-" if row["start"] == "random" else ":"
        label = f"{row['penalty']}, {row['start']} start"
        axes.plot(ratios, rate, style, color=COLORS[row["penalty"]], label=label)
    for at, label in ((1.0, "T"), (1 + K * beta, "(1 + kβ) T")):
        axes.axvline(at, color="gray", linewidth=0.8)
        axes.annotate(label, (at, 1.08), ha="center", fontsize="small", annotation_clip=False)
    axes.set(xlabel=f"smallest true weight / threshold T, β = {beta:g}", ylabel="rate of exact support")
    axes.set_ylim(-0.05, 1.05)
    axes.grid(alpha=0.3)


def reproduce(*, seeds: int, iterations: int, each: int) -> tuple[dict[str, list[dict[str, Any]]], Figure]:
    """Run everything: the tables, and the chart of them."""
    figure = Figure(figsize=(11, 8.4), layout="constrained")
    axes = figure.subplots(2, 2)
    teacher, start = draw(seeds, d=D, support=SUPPORT)
    settings = [Splitting(penalty=name, lam=lam, beta=BETA, eta=ETA) for name, lam in CASES]
    pairs = [(splitting, run(splitting, start, teacher, iterations=iterations)) for splitting in settings]
    plot_descents(axes[0], {splitting.label: done for splitting, done in pairs}, colors=CASE_COLORS)
    conditions = []
    for panel, beta in zip(axes[1], SWEEP_BETAS, strict=True):
        rates = [
            sweep(name, beta, from_teacher=from_teacher, each=each) for name in STEPS for from_teacher in (False, True)
        ]
        conditions += [row for row, _ in rates]
        plot_sweep(panel, rates, beta)
    axes[1][0].legend(fontsize="x-small", loc="center left")
    tables = {
        "RVSM where it stopped": [case_row(splitting, done, teacher) for splitting, done in pairs],
        "mean angle to the teacher after so many iterations": [angle_row(splitting, done) for splitting, done in pairs],
        "support over the smallest true weight (in thresholds T)": conditions,
    }
    return tables, figure


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the experiment, print its tables, write its JSON and its chart."""
    parser = command_line(NAME, __doc__, seeds=10)
    parser.add_argument("--iterations", type=positive, default=20_000)
    parser.add_argument("--each", type=positive, default=20, help="teachers per point of the sweep (default 20)")
    options = parser.parse_args(arguments)
    started = time.perf_counter()
    tables, figure = reproduce(seeds=options.seeds, iterations=options.iterations, each=options.each)
    settings = {"d": D, "k": K, "support": SUPPORT, "eta": ETA, "beta": BETA, "a": 1.0, "seeds": options.seeds}
    settings |= {"iterations": options.iterations, "sweep iterations": SWEEP_ITERATIONS, "each": options.each}
    wall = time.perf_counter() - started
    publish(Reproduction(name=NAME, settings=settings, tables=tables, wall_s=wall), figure, options.out)


if __name__ == "__main__":
    main()
