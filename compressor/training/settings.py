"""What a training is: a hash of everything that decides its result, so that its states go on in no other."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from torch import nn

from compressor.checkpoints import Network
from compressor.checkpoints.fingerprints import (
    architecture_fingerprint,
    data_fingerprint,
    fingerprint,
    module_fingerprint,
    task_fingerprint,
)
from compressor.data.feeds import Data
from compressor.data.loaders import Loaders
from compressor.data.samples import DataSet
from compressor.groups import ChannelGroup
from compressor.splitting import SplittingConfig
from compressor.training.recipe import Recipe
from compressor.training.views import Views


def settings_fingerprint(
    network: Network,
    data: Data,
    recipe: Recipe,
    penalties: SplittingConfig,
    teacher: nn.Module | None = None,
    groups: Sequence[ChannelGroup] | None = None,
    views: Views | None = None,
    processes: int = 1,
) -> str:
    """SHA-256 of weights, architecture, versions, samples, recipe, penalties, teacher, and what else was given.

    The device is none of it: a training may go on on another one, though it then ends with other bits. Nor is how many
    ``processes`` share its batches, unless these are a user's, of which each process trains on whole ones.
    """
    known = network.metadata
    settings = {
        "weights": fingerprint(network.model.state_dict()),
        "architecture": architecture_fingerprint(network),
        "normalization": known.normalization,
        "data": data_fingerprint(data),
        "data set": _described(data),
        "recipe": {name: value for name, value in vars(recipe).items() if name != "device"},
        "penalties": vars(penalties),
        "teacher": module_fingerprint(teacher) if teacher is not None else None,
        "groups": _groups_fingerprint(groups) if groups is not None else None,
        **({"task": task} if (task := task_fingerprint(data.task)) is not None else {}),
        **({"processes": processes} if processes > 1 and not isinstance(data, DataSet) else {}),
        **({"views": fingerprint({"logits": views.logits})} if views is not None else {}),
    }
    return hashlib.sha256(repr(settings).encode()).hexdigest()


def _described(data: Data) -> tuple[object, ...]:
    if isinstance(data, Loaders):
        return (data.ref,)
    return data.ref, data.classes, data.augmentation, data.split_seed, data.val_fraction


def _groups_fingerprint(groups: Sequence[ChannelGroup]) -> str:
    names = [
        (group.name, group.channels, group.excluded, *(known for known in (group.tie, group.branch) if known))
        for group in groups
    ]
    indices = {f"{group.name} {n}": m.index for group in groups for n, m in enumerate(group.members)}
    return hashlib.sha256(f"{names} {fingerprint(indices)}".encode()).hexdigest()
