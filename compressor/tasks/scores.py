"""What is known of each sample, from which a metric gets its confidence interval."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import isfinite, sqrt

import numpy as np
import torch
from torch import Tensor

from compressor.errors import DataError
from compressor.records import Interval, Metric, Outcomes

# Sets of samples that are drawn again for an interval, always the same ones of so many samples.
DRAWS = 1000


@dataclass(frozen=True)
class Hits:
    """A share of samples: bool (samples,), which of them are right. Its interval is Wilson's."""

    right: Tensor


@dataclass(frozen=True)
class Scores:
    """A metric of the mean over samples: statistics (samples, ...) of each, and what the metric makes of their mean.

    ``reduce`` gets means (draws, ...) and returns (draws,); by default they are the metric. Its interval is by
    bootstrap: samples are drawn again, with replacement.
    """

    samples: Tensor
    reduce: Callable[[Tensor], Tensor] = lambda means: means


def wilson(share: float, n: int) -> Interval:
    """The 95 % score interval of a ``share`` of ``n`` samples."""
    z, p = 1.959964, share
    middle = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return max(0.0, middle - half), min(1.0, middle + half)


def metric_of(name: str, found: float | Hits | Scores, n: int, known: Metric, samples: str | None) -> Metric:
    """The metric ``name`` of ``n`` samples in the unit and direction of ``known``; a plain number has no interval.

    With the fingerprint of the ``samples`` also what two networks can be compared by, sample by sample.
    """
    if isinstance(found, Hits):
        right, n = found.right.cpu().flatten().bool(), found.right.numel()
        share = int(right.sum()) / n
        outcomes = None if samples is None else Outcomes(samples=samples, right=np.packbits(right.numpy()).tobytes())
        return Metric(name=name, value=share, n=n, ci95=wilson(share, n), outcomes=outcomes)
    draws = None
    if isinstance(found, Scores):
        n, draws = len(found.samples), _drawn_again(found)
        value = float(found.reduce(found.samples.double().cpu().mean(0, keepdim=True)))
    else:
        value = float(found)
    if not isfinite(value):
        raise DataError(f"the metric {name} is no finite number, but {value}")
    return Metric(
        name=name,
        unit=known.unit,
        direction=known.direction,
        value=value,
        n=n,
        ci95=None if draws is None else _middle(draws),
        outcomes=Outcomes(samples=samples, right=b"", draws=draws.astype("<f4").tobytes())
        if samples is not None and draws is not None
        else None,
    )


def _drawn_again(scores: Scores) -> np.ndarray[tuple[int], np.dtype[np.float64]] | None:
    """The metric of each set of samples that is drawn; None where one has no finite metric, or of a single sample."""
    statistics, n = scores.samples.double().cpu(), len(scores.samples)
    if n < 2:
        return None
    generator = torch.Generator().manual_seed(n)
    flat = statistics.flatten(1) if statistics.ndim > 1 else statistics[:, None]
    means = torch.stack(
        [torch.randint(n, (n,), generator=generator).bincount(minlength=n).double() @ flat for _ in range(DRAWS)]
    )
    drawn = scores.reduce((means / n).view(DRAWS, *statistics.shape[1:])).flatten()
    found: np.ndarray[tuple[int], np.dtype[np.float64]] = drawn.numpy()
    return found if np.isfinite(found).all() else None


def _middle(draws: np.ndarray[tuple[int], np.dtype[np.float64]]) -> Interval:
    low, high = np.quantile(draws, (0.025, 0.975))
    return float(low), float(high)
