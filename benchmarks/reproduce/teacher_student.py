r"""Relaxed variable splitting on a student whose teacher is known: what both teacher-student experiments share.

The student's filter w (one row a seed) descends the Lagrangian

.. math:: L_\beta(u, w) = f(w) + \lambda P(u) + (\beta/2) \|w - u\|^2

by u = prox of (lambda/beta) P at w, then w <- w - eta grad f(w) - eta beta (w - u), for a closed-form or sampled f.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from matplotlib.axes import Axes
from torch import Tensor

from compressor.penalties import Penalty, penalty

Rows = Callable[[Tensor], Tensor]
"""A function of the students, one row each."""


@dataclass(frozen=True, kw_only=True)
class Splitting:
    """One setting of the method: the penalty by its name, lambda, beta, and the step eta."""

    penalty: str
    lam: float
    beta: float
    eta: float

    @property
    def rule(self) -> Penalty:
        """The penalty, whose value and prox are what is being tested."""
        return penalty(self.penalty)

    @property
    def label(self) -> str:
        """The penalty and lambda, for a legend."""
        return f"{self.penalty}, λ = {self.lam:g}"


@dataclass(frozen=True, kw_only=True)
class Descent:
    """Where a descent ended, and how it went: ``lagrangian`` at every iteration, ``watched`` at each ``every``-th.

    Both have the iterations along their first axis and the seeds along the second; the start is iteration 0.
    """

    w: Tensor
    u: Tensor
    lagrangian: Tensor
    watched: Mapping[str, Tensor]
    every: int

    @property
    def increases(self) -> Tensor:
        """By how much each step raised the Lagrangian (negative: lowered it), (iterations, seeds)."""
        return self.lagrangian.diff(dim=0)


def descend(
    splitting: Splitting,
    start: Tensor,
    *,
    loss: Rows,
    gradient: Rows,
    iterations: int,
    watch: Mapping[str, Callable[[Tensor, Tensor], Tensor]],
    retract: Rows = lambda w: w,
    every: int = 10,
) -> Descent:
    """Run the splitting from ``start``, (seeds, d); ``watch`` maps a name to a number per row of (w, u)."""
    rule, beta = splitting.rule, splitting.beta
    cost = torch.func.vmap(rule.value)
    w, lagrangian = start, []
    watched: dict[str, list[Tensor]] = {name: [] for name in watch}
    for iteration in range(iterations + 1):
        u = rule.prox(w, splitting.lam / beta)
        pull = w - u
        lagrangian.append(loss(w) + splitting.lam * cost(u) + beta / 2 * pull.square().sum(1))
        if iteration % every == 0:
            for name, look in watch.items():
                watched[name].append(look(w, u))
        if iteration < iterations:
            w = retract(w - splitting.eta * (gradient(w) + beta * pull))
    seen = {name: torch.stack(values) for name, values in watched.items()}
    return Descent(w=w, u=u, lagrangian=torch.stack(lagrangian), watched=seen, every=every)


def draw(seeds: int, *, d: int, support: int) -> tuple[Tensor, Tensor]:
    """Teachers with ``support`` non-zero entries and dense first students, all of unit norm: (seeds, d) each.

    A teacher's entry is standard normal plus or minus a half, before the norm is divided out.
    """
    teachers, starts = [], []
    for seed in range(seeds):
        generator = np.random.default_rng(seed)
        entries = generator.normal(size=support)
        entries += np.copysign(0.5, generator.normal(size=support))
        teachers.append(np.pad(entries, (0, d - support)))
        starts.append(generator.normal(size=d))
    return unit(torch.from_numpy(np.stack(teachers))), unit(torch.from_numpy(np.stack(starts)))


def norms(w: Tensor) -> Tensor:
    """The 2-norm of each row."""
    lengths: Tensor = torch.linalg.vector_norm(w, dim=1)
    return lengths


def unit(w: Tensor) -> Tensor:
    """Each row divided by its norm."""
    return w / norms(w)[:, None]


def angle(w: Tensor, teacher: Tensor) -> Tensor:
    """The angle of each row to its teacher in radians; exact for tiny angles, where arccos loses half the digits."""
    a, b = unit(w), unit(teacher)
    return 2 * torch.atan2(norms(a - b), norms(a + b))


def same_support(u: Tensor, teacher: Tensor) -> Tensor:
    """Whether each row is non-zero exactly where its teacher is."""
    return ((u != 0) == (teacher != 0)).all(1)


def plot_descents(axes: Sequence[Axes], descents: Mapping[str, Descent], *, colors: Sequence[str]) -> None:
    """The Lagrangian on the first axes, the angle on the second, one colour a line; means over the seeds."""
    for (label, run), color in zip(descents.items(), colors, strict=True):
        axes[0].plot(torch.arange(len(run.lagrangian)) + 1, run.lagrangian.mean(1), label=label, color=color)
        angles = run.watched["angle"].mean(1)
        axes[1].plot(torch.arange(len(angles)) * run.every + 1, angles, label=label, color=color)
    axes[0].set(title="Lagrangian")
    axes[1].set(title="angle to the teacher, radians")
    for panel in axes:
        panel.set(xlabel="iteration", xscale="log", yscale="log")
        panel.grid(alpha=0.3)
        panel.legend(fontsize="small")
