"""Images that exceed --max-memory, through the commands."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def photos(tiny, tmp_path):
    """The images of the tiny network as files."""
    with np.load(tiny.data.removeprefix("npz:")) as arrays:
        for index, (pixels, label) in enumerate(zip(arrays["x"], arrays["y"], strict=True)):
            file = tmp_path / "photos" / "abcd"[label] / f"{index}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels.reshape(8, 8)).save(file)
    return f"folder:{tmp_path / 'photos'}"


def test_commands_end_with_the_same_bits_streamed(compress, tiny, photos, tmp_path, monkeypatch):
    made = {}
    for name in ("memory", "streamed"):
        if name == "streamed":
            monkeypatch.setattr("compressor.data.streaming.exceeds_memory", lambda *_: True)
        out = tmp_path / f"{name}.pt"
        common = ("--arch", tiny.arch, "--data", photos, "--device", "cpu")
        training = ("--epochs", 2, "--target-macs", 0.5, "--batch-size", 16, "--max-train", 100, "--data-workers", 1)
        tuned = compress("fine-tune", tiny.checkpoint, *common, *training, "--out", out)
        assert tuned.exit_code == 0, tuned.stderr
        assert ("stay on the disk" in tuned.stderr) == (name == "streamed")
        measured = compress("evaluate", out, *common, "--json")
        made[name] = out.read_bytes(), json.loads(measured.stdout)["metric"]["value"]
    assert made["memory"] == made["streamed"]


def test_a_batch_must_fit(compress, tiny, photos):
    told = compress("evaluate", tiny.checkpoint, "--arch", tiny.arch, "--data", photos, "--max-memory", "1kB")
    assert told.exit_code == 1
    assert "--max-memory allows more" in told.stderr
