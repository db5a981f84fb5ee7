"""How the times of single layers add up to that of a network, fitted to whole networks of other widths."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from compressor.costs.latency import NS, LatencyModel
from compressor.records.benchmark import Comparison
from compressor.records.costs import Check, NetworkCosts

Array = NDArray[np.float64]

# A fit without one of them needs more than the coefficients that it has.
LEAST_NETWORKS = 6
# The layers' own times and nothing else.
UNIT = NetworkCosts(
    scale=1.0, us_per_output=0.0, us_per_mac=0.0, fixed_us=0.0, checks=(), median_error=0.0, worst_error=0.0
)


def fitted(
    model: LatencyModel, kept: Sequence[Sequence[int]], timed: Sequence[Comparison], dense_us: float
) -> NetworkCosts:
    """The costs of a network that takes ``dense_us``, by those of widths ``kept`` (networks, groups).

    They were ``timed`` relative to the dense one. Coefficients are not negative and have the least squares of the
    relative errors. What is foretold of each network is so by a fit without it: these are errors of unseen networks.
    """
    dense = list(model.channels)
    features = np.array([_features(model, widths) for widths in (dense, *kept)])
    ratios = np.array([1.0, *(one.ratio for one in timed)])
    every = np.arange(len(ratios))
    foretold = [_foretold(features, ratios, every != left_out)[left_out] for left_out in every[1:]]
    checks = tuple(
        Check(
            macs=float(_macs(model, widths) / _macs(model, dense)),
            predicted=float(predicted),
            measured=one.ratio,
            ci95=one.ci95,
        )
        for widths, predicted, one in zip(kept, foretold, timed, strict=True)
    )
    errors = [abs(check.error) for check in checks]
    scale, per_output, per_mac, fixed = (dense_us * one for one in _nonnegative(features, ratios))
    return NetworkCosts(
        scale=float(scale),
        us_per_output=float(per_output),
        us_per_mac=float(per_mac),
        fixed_us=float(fixed),
        dense_us=dense_us,
        checks=checks,
        median_error=float(np.median(errors)),
        worst_error=float(max(errors)),
    )


def _foretold(features: Array, ratios: Array, seen: NDArray[np.bool_]) -> Array:
    """The latency ratios of all networks by a fit to those ``seen``."""
    foretold: Array = features @ _nonnegative(features[seen], ratios[seen])
    return foretold


def _features(model: LatencyModel, kept: Sequence[int]) -> list[float]:
    """Of a network: microseconds of its timed layers, numbers put out, MACs of other rows, and one."""
    each = [(1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)]
    parts = [replace(model.fit, scale=a, us_per_output=b, us_per_mac=c) for a, b, c in each]
    return [*(float(model.fitted(part).by_layer(kept).sum()) / NS for part in parts), 1.0]


def _macs(model: LatencyModel, kept: Sequence[int]) -> float:
    widths = model.fitted(replace(model.fit, scale=0.0, us_per_output=0.0, us_per_mac=1.0))
    return float(widths.without_curves().by_layer(kept).sum())


def _nonnegative(features: Array, ratios: Array) -> Array:
    """Coefficients of at least 0 with the least squares of the relative errors: the best of all subsets."""
    weighted, found, least = features / ratios[:, None], np.zeros(features.shape[1]), np.inf
    for size in range(1, features.shape[1] + 1):
        for some in map(list, combinations(range(features.shape[1]), size)):
            part = np.linalg.lstsq(weighted[:, some], np.ones(len(ratios)))[0]
            error = float(np.square(weighted[:, some] @ part - 1).sum())
            if (part >= 0).all() and error < least:
                least, found = error, np.zeros(features.shape[1])
                found[some] = part
    return found
