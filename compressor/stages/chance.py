"""Whether a network knows its task at all, or guesses: most often its inputs are not what it was trained on."""

from __future__ import annotations

from compressor.checkpoints import Network
from compressor.data.feeds import Data
from compressor.data.samples import DataSet
from compressor.records import Metric
from compressor.tasks.classification import Classification


def chance_doubt(network: Network, data: Data, metric: Metric) -> str | None:
    """Why the accuracy on the test part of ``data`` looks like guessing, in a sentence with likely causes; else None.

    It does when its 95 % interval reaches down to the share of the most frequent class, which is at least that of one
    class in all. Nothing is known of other tasks, and of a user's batches.
    """
    if not isinstance(data, DataSet) or not isinstance(data.task, Classification):
        return None
    naming = float(data.test.labels.bincount().max()) / len(data.test)
    if metric.ci95 is None or metric.ci95[0] > naming or naming == 1:
        return None
    normalization = network.metadata.normalization or "none"
    return (
        f"the network is no better than guessing: it is right on {100 * metric.value:.1f} % of {metric.n} test images, "
        f"and always naming the most frequent of {len(data.classes)} classes would be on {100 * naming:.1f} %; the "
        f"likely cause is --normalize (now {normalization}), the order of --classes, or --arch"
    )
