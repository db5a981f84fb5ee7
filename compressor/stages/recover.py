"""Recovery: train a shrunk network on, without penalties."""

from __future__ import annotations

from torch import nn

from compressor.checkpoints import Network
from compressor.data.feeds import Data
from compressor.loggers import Log
from compressor.progress import Progress
from compressor.records import Metric
from compressor.stages.fine_tune import FineTuned, OnEpoch, fine_tune
from compressor.stages.jobs import Crew
from compressor.training.recipe import Recipe
from compressor.training.states import States
from compressor.training.views import Views


def recover(
    network: Network,
    data: Data,
    recipe: Recipe,
    *,
    teacher: nn.Module | None = None,
    views: Views | None = None,
    states: States | None = None,
    before: Metric | None = None,
    crew: Crew | None = None,
    on_epoch: OnEpoch | None = None,
    log: Log | None = None,
    progress: Progress | None = None,
) -> FineTuned:
    """Train a copy of ``network`` on ``data`` so that it wins back what shrinking cost; what is zero stays zero.

    ``teacher`` is best the dense network: half of the loss then comes from its soft labels (Hinton et al.,
    "Distilling the knowledge in a neural network", 2015). ``views``, ``states``, ``before``, ``crew`` and ``log``
    are as in `fine_tune`. `DataError` when the data do not fit the network.
    """
    return fine_tune(
        network,
        data,
        recipe,
        teacher=teacher,
        views=views,
        states=states,
        before=before,
        crew=crew,
        on_epoch=on_epoch,
        log=log,
        progress=progress,
    )
