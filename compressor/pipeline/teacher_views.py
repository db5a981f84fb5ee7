"""The dense network's outputs for views of the training samples, kept in the run folder for both trainings."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from compressor.checkpoints import Network
from compressor.checkpoints.fingerprints import data_fingerprint, fingerprint
from compressor.data.feeds import Data
from compressor.data.samples import Augmentation, DataSet, View
from compressor.files import write_bytes
from compressor.progress import Progress
from compressor.tasks.classification import Classification
from compressor.training.recipe import pick_device
from compressor.training.views import Views, ask, draw_views

BOUND_TO, LOGITS = "bound_to", "logits"
# Of the outputs for all views; above, the dense network is asked at every step.
FLOAT_BYTES, MOST_BYTES = 4, 2**28


def fit(count: int, data: DataSet) -> bool:
    """Whether the task is one of classes, images are shifted and mirrored alone, and what is said fits into memory.

    Of ``count`` views of every sample. Other augmentations show no image twice in the same way.
    """
    known = isinstance(data.task, Classification) and isinstance(data.augmentation, Augmentation)
    return known and FLOAT_BYTES * count * len(data.train) * len(data.classes) <= MOST_BYTES


def asked_live(data: Data) -> tuple[str, ...]:
    """A note for the reader of a report where the augmentation asks more of the dense network; else none."""
    if not isinstance(data, DataSet) or isinstance(data.augmentation, Augmentation):
        return ()
    return (
        f"The dense network is asked at every step: with --augment {data.augmentation} no image is seen twice in the "
        "same way, so that its answers cannot be kept.",
    )


class TeacherViews:
    """``count`` views of the training part of ``data``, and what ``dense`` says of them, in ``file``."""

    def __init__(self, dense: Network, data: DataSet, file: Path, *, count: int, seed: int, device: str) -> None:
        self._dense, self._data, self._file = dense, data, file
        self._count, self._seed, self._device = count, seed, device

    def get(self, progress: Progress) -> Views:
        """From the file if they are there and belong to these, else asked now and written."""
        views = draw_views(self._data, self._count, self._seed)
        logits = self._read()
        if logits is None:
            logits = self._asked(views, progress)
            write_bytes(self._file, safetensors.torch.save({LOGITS: logits}, {BOUND_TO: self._identity}))
        return Views(views, logits)

    def _asked(self, views: Sequence[View], progress: Progress) -> Tensor:
        model = self._dense.model
        model.to(pick_device(self._device))
        try:
            return ask(model, self._data, views, self._dense.metadata.normalization, progress=progress)
        finally:
            model.to("cpu")

    def _read(self) -> Tensor | None:
        """None when there is no file, or it is damaged, or belongs to something else."""
        try:
            with safe_open(self._file, framework="pt") as file:
                if file.metadata()[BOUND_TO] != self._identity:
                    return None
                logits: Tensor = file.get_tensor(LOGITS)
                right = logits.dtype == torch.float32 and logits.shape[:2] == (self._count, len(self._data.train))
                return logits if right and logits.ndim == 3 else None
        except (OSError, SafetensorError, KeyError, TypeError):
            return None

    @property
    def _identity(self) -> str:
        known = fingerprint(self._dense.model.state_dict()), data_fingerprint(self._data)
        return " ".join((*known, str(self._data.augmentation), str(self._count), str(self._seed)))
