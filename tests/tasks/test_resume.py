"""A training on a user's batches that is interrupted ends with the same bits as one that is not."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from compressor.checkpoints import load
from compressor.data.loaders import load_loaders
from compressor.errors import CompressorWarning
from compressor.splitting import SplittingConfig
from compressor.stages.fine_tune import fine_tune
from compressor.tasks import load_task
from compressor.training.recipe import Recipe
from compressor.training.settings import settings_fingerprint
from compressor.training.states import States

PENALTIES = SplittingConfig(target_macs=0.5, trials=2)


def tuned(one, *, folder=None, stop_after=None):
    network = load(one.checkpoint, trust_arch=True)
    data = load_loaders(one.data, load_task(one.task))

    def stop(epoch):
        if epoch.epoch == stop_after:
            raise KeyboardInterrupt

    recipe, states = Recipe(epochs=3, device="cpu"), None
    if folder is not None:
        states = States(folder)
        states.__enter__()
    try:
        return fine_tune(network, data, recipe, PENALTIES, teacher=network.model, states=states, on_epoch=stop)
    finally:
        if states is not None:
            states.__exit__(None, None, None)


@pytest.mark.parametrize("name", ["unet", "lstm"])
def test_it_goes_on_where_it_stopped(project, name, tmp_path):
    one, folder = project(name), tmp_path / "states"
    whole = tuned(one)
    with pytest.raises(KeyboardInterrupt):
        tuned(one, folder=folder, stop_after=2)
    again = tuned(one, folder=folder)
    assert again.record.epochs == whole.record.epochs
    expected = whole.network.model.state_dict()
    assert all(torch.equal(tensor, expected[key]) for key, tensor in again.network.model.state_dict().items())


def test_another_task_or_other_batches_are_another_training(project, tmp_path):
    one = project("mlp")
    network, marks = load(one.checkpoint, trust_arch=True), set()
    code = Path(one.data.rpartition(":")[0]).read_text()
    for text, error in ((code, "mse"), (code, "mae"), (code.replace("96", "80"), "mse")):
        file = tmp_path / "mine.py"
        file.write_text(text)
        data = load_loaders(f"{file}:loaders", load_task("regression", {"error": error}))
        marks.add(settings_fingerprint(network, data, Recipe(epochs=1), PENALTIES))
    assert len(marks) == 3


def test_nothing_is_warned_of(project, recwarn):
    tuned(project("mlp"))
    assert not [one for one in recwarn if issubclass(one.category, CompressorWarning)]
