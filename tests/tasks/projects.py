"""Users' networks that are no image classifiers."""

from __future__ import annotations

from pathlib import Path

import torch

from compressor.checkpoints import fresh, save

USER = Path(__file__).parent / "user"
# By name: the file of a user, its network, the task, and what the network is called with where it does not say.
KINDS = {
    "unet": ("shapes_unet.py", "UNet", "segmentation", {}),
    "lstm": ("words_lstm.py", "Reader", f"{USER}/words_lstm.py:LanguageModel", {"example": torch.ones(2, 10).long()}),
    "mlp": ("curve_mlp.py", "mlp", "regression", {"input_shape": (4,)}),
    "detector": ("boxes_detector.py", "Detector", f"{USER}/boxes_detector.py:Detection", {}),
}


class Project:
    """A user's network in a checkpoint, with the options that say what it is for."""

    def __init__(self, name: str, folder: Path) -> None:
        file, network, self.task, fed = KINDS[name]
        self.data, self.checkpoint = f"{USER / file}:loaders", folder / f"{name}.pt"
        save(fresh(f"{USER / file}:{network}", **fed), self.checkpoint)
        self.options = ("--trust-arch", "--data", self.data, "--task", self.task)
