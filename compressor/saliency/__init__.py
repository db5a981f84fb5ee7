"""Which channels are worth keeping: each saliency is a class in a file of its own and a line in `SALIENCIES`.

Adding one is that; options, listing and the tests of all saliencies follow by themselves.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from compressor.registry import resolve

if TYPE_CHECKING:
    from torch import nn

    from compressor.groups import ChannelGroup
    from compressor.saliency.base import Saliency

__all__ = ["DEFAULT", "SALIENCIES", "saliency"]

SALIENCIES = {
    "bn-scale": "compressor.saliency.bn_scale:BnScale",
    "fisher": "compressor.saliency.fisher:Fisher",
    "magnitude": "compressor.saliency.magnitude:Magnitude",
    "random": "compressor.saliency.random:Random",
    "taylor": "compressor.saliency.taylor:Taylor",
    "weights": "compressor.saliency.weights:Weights",
}
DEFAULT = "taylor"


def saliency(name: str, model: nn.Module, groups: Sequence[ChannelGroup], *, seed: int = 0) -> Saliency:
    """The saliency called ``name`` of the channels of ``groups``; `UnknownName`, or `UsageError` where it has none."""
    built: Saliency = resolve("saliency", SALIENCIES, name)(model, groups, seed)
    return built
