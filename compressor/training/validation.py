"""How well a network that is being trained would do if it were shipped now; the training does not notice."""

from __future__ import annotations

import copy
from contextlib import nullcontext

import torch
from torch import nn

from compressor.data.feeds import Data
from compressor.data.normalization import Normalization
from compressor.records import Metric
from compressor.splitting.base import SplittingBase
from compressor.training.averaging import WeightAverage
from compressor.training.batchnorm import reestimate_on
from compressor.training.evaluation import measure

# Four batches: enough for statistics that show how the training goes, few enough for every epoch.
SAMPLES = 512


def validated(
    model: nn.Module,
    data: Data,
    normalization: Normalization | None,
    splitting: SplittingBase | None,
    seed: int,
    *,
    average: WeightAverage | None = None,
) -> Metric | None:
    """The metric of ``model`` on the validation part; None where there are no samples.

    While ``splitting`` draws channels to zero, weights that are not zero yet and running statistics of BatchNorm that
    lag behind would tell of a network that nobody gets. So a copy is measured that is projected and re-estimated; and
    one of the ``average`` of the weights where that is what will be shipped.
    """
    if not data.validates:
        return None
    changed = splitting is not None or average is not None
    if changed:
        with (
            average.shown() if average is not None else nullcontext(),
            splitting.zeroed() if splitting is not None else nullcontext(),
        ):
            model = copy.deepcopy(model)
    return validated_as_it_is(model, data, normalization, seed, reestimated=changed)


def validated_as_it_is(
    model: nn.Module, data: Data, normalization: Normalization | None, seed: int, *, reestimated: bool
) -> Metric:
    """The metric of ``model`` on the validation part, its BatchNorm statistics ``reestimated`` first."""
    device = next(model.parameters()).device
    # A network may draw random numbers in eval mode as well.
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        if reestimated:
            reestimate_on(model, data, normalization, seed, most=SAMPLES)
        return measure(model, data, "val", normalization)
