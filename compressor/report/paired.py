"""Two networks on the same samples: a confidence interval that knows what each of them made of which samples."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from compressor.errors import CompressorError
from compressor.records import Interval, Metric
from compressor.report.format import plain

Z = 1.959964  # 97.5 % of the standard normal distribution lie below
STEPS = 60  # bisections: more than a float has digits
MOST_SAMPLES = 10**12


@dataclass(frozen=True)
class Pairs:
    """How often two networks differ on ``n`` samples: the old one alone is right, ``lost``, or the new one, ``won``."""

    lost: float
    won: float
    n: int

    def scaled(self, n: int) -> Pairs:
        """The same shares of ``n`` samples."""
        return Pairs(self.lost * n / self.n, self.won * n / self.n, n)


def pairs_of(old: Metric, new: Metric) -> Pairs | None:
    """How the two differ, None unless it is known of both which of the same samples they got right.

    `CompressorError` when what is stored contradicts the metric beside it.
    """
    if old.outcomes is None or new.outcomes is None or old.outcomes.samples != new.outcomes.samples:
        return None
    if old.outcomes.draws or new.outcomes.draws:
        return None
    before, after = _bits(old), _bits(new)
    if old.n != new.n or old.n is None:
        raise CompressorError(f"the same samples are {old.n} in one document and {new.n} in the other")
    return Pairs((before & ~after).bit_count(), (after & ~before).bit_count(), old.n)


def paired_interval(pairs: Pairs) -> Interval:
    """The 95 % interval of how much less often the new network is right, as a share of the samples.

    Tango's score interval: "Equivalence test and confidence interval for the difference in proportions for the
    paired-sample design", Statistics in Medicine 17, 1998. docs/gates.md shows its coverage.
    """
    drop = (pairs.lost - pairs.won) / pairs.n
    return (
        _crossing(lambda share: _score(pairs, share) <= Z, -1.0, drop),
        _crossing(lambda share: _score(pairs, share) <= -Z, drop, 1.0),
    )


def drawn_interval(old: Metric, new: Metric) -> Interval | None:
    """The 95 % interval of new - old, in the metric's own unit, by the sets of samples that were drawn of both.

    None unless both were measured on the same samples. `CompressorError` when what is stored cannot be.
    """
    if old.outcomes is None or new.outcomes is None or old.outcomes.samples != new.outcomes.samples:
        return None
    before, after = old.outcomes.draws, new.outcomes.draws
    if not before or not after:
        return None
    if len(before) != len(after) or len(before) % 4:
        raise CompressorError(f"the {plain(new.name)} of the same samples was not drawn again from them alike")
    low, high = np.quantile(np.frombuffer(after, "<f4") - np.frombuffer(before, "<f4"), (0.025, 0.975))
    if not math.isfinite(low) or not math.isfinite(high):
        raise CompressorError(f"the {plain(new.name)} of samples that were drawn again is no number")
    return float(low), float(high)


def samples_needed(pairs: Pairs, limit: float) -> int | None:
    """So many samples, that differ as often as these, bring the interval below ``limit``; None if none do."""
    if (pairs.lost - pairs.won) / pairs.n >= limit:
        return None
    low, high = 0, 1
    while paired_interval(pairs.scaled(high))[1] > limit:
        low, high = high, 2 * high
        if high > MOST_SAMPLES:
            return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if paired_interval(pairs.scaled(middle))[1] > limit else (low, middle)
    return high


def _bits(metric: Metric) -> int:
    """A bit for each sample, the first is the highest."""
    outcomes, n = metric.outcomes, metric.n
    assert outcomes is not None
    bits = int.from_bytes(outcomes.right)
    spare = 8 * len(outcomes.right) - (n or 0)
    fits = 0 <= spare < 8 and bits % (1 << spare) == 0
    if not fits or n is None or bits.bit_count() != round(metric.value * n):
        raise CompressorError(f"the outcomes of the single samples contradict the {plain(metric.name)} beside them")
    return bits >> spare


def _score(pairs: Pairs, drop: float) -> float:
    """How many standard deviations the counts lie above what a true ``drop`` would bring; falls with ``drop``."""
    lost, won, n = pairs.lost, pairs.won, pairs.n
    linear = (2 * n - lost + won) * drop - lost - won
    constant = -won * drop * (1 - drop)
    won_share = (math.sqrt(linear * linear - 8 * n * constant) - linear) / (4 * n)
    variance = n * (2 * won_share + drop * (1 - drop))
    above = lost - won - n * drop
    return above / math.sqrt(variance) if variance > 0 else math.copysign(math.inf, above) if above else 0.0


def _crossing(beyond: Callable[[float], bool], low: float, high: float) -> float:
    """Where ``beyond``, False at ``low``, becomes True."""
    for _ in range(STEPS):
        middle = (low + high) / 2
        low, high = (low, middle) if beyond(middle) else (middle, high)
    return high
