"""The methods by which a penalty reaches the weights, each as a description.

Formulas of the papers' methods: Bui, Park, Zhang, Qi, Xin, Front. Appl. Math. Stat. 6:529564, 2021 (paper);
Dinh and Xin, arXiv 1812.05719, and Xue and Xin, arXiv 1902.07419 (rvsm); Yang, Lyu, Zhang, Qi, Xin, AI4I 2019
(rgsm), where they differ as in the authors' code; Bui, Xue, Park, Qi and Xin, arXiv 2307.00684 (slimming).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from compressor.errors import UnknownName

# Ways to spread channels over the layers that are tried for a target, before any training.
TRIALS = 24

Pull = Literal["implicit", "explicit", "gradient"]
Rows = Literal["filters", "input channels"]


@dataclass(frozen=True, kw_only=True)
class Method:
    """What distinguishes one method from another; the numbers are the defaults of its options."""

    about: str
    pull: Pull
    """How W moves towards the auxiliary variable V: *implicit* after the optimiser's step, stable for every beta;
    *explicit* before it, outside the optimiser (no momentum); *gradient*: beta (W - V) is added to the gradient."""
    target: bool = False
    """Whether channels are chosen by a budget; such a strength is in units of each layer's RMS at the start."""
    split_rows: Rows | None = None
    """The rows whose group penalty V carries; None: V carries the penalty on single weights."""
    lasso_rows: Rows | None = None
    """The rows whose group penalty is added to the gradient of W as a subgradient."""
    weighted_rows: bool = False
    """Whether every row of that penalty has the papers' weight, for the lasso the square root of its length."""
    scales: bool = False
    """Whether the scales of BatchNorm are penalised, and nothing else."""
    per_sample: bool = False
    """Whether strengths and beta are divided by the number of training samples in the gradient."""
    takes_over: bool = False
    """Whether V replaces W at the end of every epoch."""
    penalty: str = "none"
    strength: float
    group_penalty: str | None = None
    group_strength: float | None = None
    """Of the subgradient; None: the same as ``strength``."""
    beta: tuple[float, float]
    growth: tuple[float, int] | None = None
    """beta is multiplied by the first every so many epochs."""


METHODS = {
    "budget": Method(
        about="A target chooses channels and zeros; weights are drawn to them outside the optimiser",
        pull="implicit",
        target=True,
        strength=0.3,
        group_penalty="l0",
        beta=(1.0, 1000.0),
    ),
    "paper": Method(
        about="Bui et al. 2021: V on single weights, group lasso in the gradient, beta grows in jumps",
        pull="gradient",
        lasso_rows="filters",
        weighted_rows=True,
        per_sample=True,
        strength=0.1,
        group_penalty="lasso",
        beta=(2.5, 2.5),
        growth=(1.25, 40),
    ),
    "rvsm": Method(
        about="Dinh and Xin; Xue and Xin: V on single weights replaces them after every epoch",
        pull="explicit",
        takes_over=True,
        penalty="l0",
        strength=1e-6,
        beta=(1e-2, 1e-2),
    ),
    "rgsm": Method(
        about="Yang et al. 2019: V on input channels of convolutions replaces them after every epoch",
        pull="explicit",
        split_rows="input channels",
        lasso_rows="input channels",
        takes_over=True,
        strength=1e-2,
        group_penalty="l0",
        group_strength=1e-5,
        beta=(1.0, 1.0),
    ),
    "slimming": Method(
        about="Bui et al. 2023: scales of BatchNorm are drawn to xi; a channel goes when all its scales are zero",
        pull="implicit",
        scales=True,
        penalty="l1",
        # Those of the authors' VGG-19 on CIFAR-10. Their DenseNet-40 has 0.004 and 100 too, their ResNet-164 0.002 and
        # 0.25. They train from scratch for long: a step draws xi by at most strength / (1 / lr + beta), so that a short
        # training needs a larger strength or a smaller beta.
        strength=0.0045,
        beta=(100.0, 100.0),
    ),
}


def method(name: str) -> Method:
    """The method called ``name``, or `UnknownName` with the nearest."""
    if name not in METHODS:
        raise UnknownName("method", name, METHODS)
    return METHODS[name]
