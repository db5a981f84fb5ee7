"""How images of other sizes are brought to the input of a network stays with it, as its normalisation does."""

from __future__ import annotations

import json
from dataclasses import replace

import onnx
import pytest
import torch

from compressor import load
from compressor.checkpoints import save
from compressor.errors import CheckpointError
from compressor.export import describe


@pytest.fixture
def resized(tiny, tmp_path):
    network = load(tiny.checkpoint, trust_arch=True)
    save(replace(network, metadata=replace(network.metadata, resize="bilinear")), tmp_path / "resized.pt")
    return tmp_path / "resized.pt"


def test_it_is_written_and_read(resized, tiny):
    assert load(resized, trust_arch=True).metadata.resize == "bilinear"
    assert load(tiny.checkpoint, trust_arch=True).metadata.resize is None


def test_an_onnx_file_says_it(resized, tmp_path, compress):
    known = load(resized, trust_arch=True).metadata
    assert json.loads(describe(known)["compressor.resize"]) == "bilinear"
    compress("export", resized, "--trust-arch", "--out", tmp_path / "m.onnx")
    entries = {entry.key: entry.value for entry in onnx.load(tmp_path / "m.onnx").metadata_props}
    assert json.loads(entries["compressor.resize"]) == "bilinear"


def test_inspect_shows_what_an_image_goes_through(resized, tiny, compress):
    shown = compress("inspect", resized, "--trust-arch").stdout
    assert "Images are resized to 8x8 as a whole (bilinear, antialiased), divided by 255 and normalised by 0.4" in shown
    assert json.loads(compress("inspect", resized, "--trust-arch", "--json").stdout)["resize"] == "bilinear"
    assert (
        "Images are divided by 255 and normalised by 0.4" in compress("inspect", tiny.checkpoint, "--trust-arch").stdout
    )


@pytest.mark.parametrize("value", [None, 3, "", "nearest", "x" * 5000, ["bilinear"]])
def test_another_one_is_refused(resized, value):
    content = torch.load(resized, weights_only=True)
    content["header"]["resize"] = value
    torch.save(content, resized)
    with pytest.raises(CheckpointError, match="resize") as caught:
        load(resized, trust_arch=True)
    assert "\n" not in str(caught.value)


def test_training_on_files_and_on_arrays(tiny, compress, tmp_path):
    from PIL import Image

    for index in range(40):
        file = tmp_path / "photos" / "abcd"[index % 4] / f"{index}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (11, 9), 6 * index).save(file)
    training = ("--arch", tiny.arch, "--epochs", 1, "--batch-size", 8, "--max-train", 16, "--quiet")
    for data, resize in ((f"folder:{tmp_path / 'photos'}", "bilinear"), (tiny.data, None)):
        done = compress(
            "fine-tune", tiny.checkpoint, "--data", data, *training, "--out", tmp_path / "o.pt", "--overwrite"
        )
        assert done.exit_code == 0, done.stderr
        assert load(tmp_path / "o.pt", trust_arch=True).metadata.resize == resize
