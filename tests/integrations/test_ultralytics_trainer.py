"""The callbacks in the real trainer of Ultralytics: a detector of squares, on images that are drawn here."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from foreign import required
from PIL import Image

from compressor import Examples, shrink
from compressor.costs import count_macs
from compressor.errors import CompressorWarning, UsageError

required("ultralytics")
from ultralytics import YOLO  # noqa: E402

from compressor.integrations.ultralytics import CompressionCallback  # noqa: E402

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

SIDE, IMAGES, EPOCHS, BATCH = 64, 24, 5, 8
EXAMPLE = Examples(torch.zeros(2, 3, SIDE, SIDE), outputs=0)


@pytest.fixture(scope="module")
def squares(tmp_path_factory):
    """A data set in Ultralytics' form: one bright square an image."""
    folder, drawn = tmp_path_factory.mktemp("squares"), np.random.default_rng(0)
    for part in ("images", "labels"):
        (folder / part).mkdir()
    for number in range(IMAGES):
        image = drawn.integers(0, 90, (SIDE, SIDE, 3), dtype=np.uint8)
        size, (x, y) = 24, drawn.integers(0, SIDE - 24, 2)
        image[y : y + size, x : x + size] += 150
        Image.fromarray(image).save(folder / "images" / f"{number}.png")
        box = " ".join(f"{value / SIDE:.4f}" for value in (x + size / 2, y + size / 2, size, size))
        (folder / "labels" / f"{number}.txt").write_text(f"0 {box}\n")
    (folder / "data.yaml").write_text(f"path: {folder}\ntrain: images\nval: images\nnames: [square]\n")
    return folder / "data.yaml"


def trained(squares, folder, callback, model=None, events=(), **options):
    model = model or YOLO("yolov8n.yaml", verbose=False)
    callback.add_to(model)
    for event, function in events:
        model.add_callback(event, function)
    quiet = {"plots": False, "verbose": False, "workers": 0, "device": "cpu", "amp": False, "seed": 0}
    sizes = {"imgsz": SIDE, "epochs": EPOCHS, "batch": BATCH, "nbs": BATCH, "warmup_epochs": 1, "mosaic": 0.0}
    model.train(data=str(squares), project=str(folder), name="run", exist_ok=True, **{**quiet, **sizes, **options})
    return model


def test_a_detector_becomes_smaller_and_is_saved_as_it_is_projected(squares, tmp_path):
    callback = CompressionCallback(EXAMPLE, target_macs=0.6)
    trained(squares, tmp_path, callback)
    assert callback.splitting.step == callback.splitting.total_steps == EPOCHS * IMAGES // BATCH
    small = shrink(callback.network, EXAMPLE)
    assert count_macs(small, EXAMPLE) <= 0.6 * count_macs(callback.network, EXAMPLE)

    saved = YOLO(tmp_path / "run" / "weights" / "last.pt").model.float().requires_grad_(True)
    assert count_macs(shrink(saved, EXAMPLE), EXAMPLE) == count_macs(small, EXAMPLE)
    assert callback.projection.warnings == ()


def test_accumulated_batches_are_one_step(squares, tmp_path):
    callback = CompressionCallback(EXAMPLE, target_macs=0.6)
    trained(squares, tmp_path, callback, nbs=3 * BATCH, warmup_epochs=2)
    assert callback.splitting.step == callback.splitting.total_steps < EPOCHS * IMAGES // BATCH


def test_a_training_goes_on_from_the_trainers_checkpoint(squares, tmp_path):
    class Cut(Exception):
        pass

    def cut(trainer):
        if trainer.epoch == 2:
            raise Cut

    with pytest.raises(Cut):
        trained(
            squares, tmp_path, CompressionCallback(EXAMPLE, target_macs=0.6), events=[("on_train_epoch_start", cut)]
        )
    last = tmp_path / "run" / "weights" / "last.pt"
    callback, steps = CompressionCallback(EXAMPLE, target_macs=0.6), []
    note = [("on_train_epoch_start", lambda trainer: steps.append(callback.splitting.step))]
    trained(squares, tmp_path, callback, model=YOLO(last), events=note, resume=True)
    assert steps == [6, 9, 12]
    assert callback.projection.warnings == ()
    shrink(callback.network, EXAMPLE)


def test_a_training_that_stops_early_is_projected_with_a_warning(squares, tmp_path):
    def stop(trainer):
        trainer.stop = True

    callback = CompressionCallback(EXAMPLE, target_macs=0.6)
    with pytest.warns(CompressorWarning, match="stopped after 3 of 15 steps"):
        trained(squares, tmp_path, callback, events=[("on_fit_epoch_end", stop)])
    shrink(callback.network, EXAMPLE)


def test_hours_are_refused(squares, tmp_path):
    with pytest.raises(UsageError, match="does not say how many steps it will take; give it epochs"):
        trained(squares, tmp_path, CompressionCallback(EXAMPLE, target_macs=0.6), time=0.01)
