from __future__ import annotations

import os
import pickle
import random

import pytest
import torch
from torch import nn

from compressor import load, save
from compressor.errors import CheckpointError


class Harmful:
    """Unpickling it makes a folder."""

    def __init__(self, folder):
        self.folder = str(folder)

    def __reduce__(self):
        return os.mkdir, (self.folder,)


def refused(path, match, **options):
    with pytest.raises(CheckpointError, match=match) as caught:
        load(path, **options)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(str(path))


def test_missing_file(tmp_path):
    refused(tmp_path / "m.pt", r"does not exist; MODEL is a file or one of: curves_cnn, digits_lenet, digits_resnet")


def test_folder(tmp_path):
    refused(tmp_path, "is a folder; a checkpoint file is needed")


@pytest.mark.parametrize("name", ["m.pt", "m.safetensors"])
def test_empty_file(tmp_path, name):
    (tmp_path / name).touch()
    refused(tmp_path / name, "is empty; a checkpoint file is needed")


@pytest.mark.parametrize("share", [1e-6, 1e-5, 1e-4, 0.01, 0.5, 0.9, 0.999, 0.999999])
@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_file_cut_short(tmp_path, network, suffix, share):
    path = tmp_path / f"m{suffix}"
    save(network, path)
    content = path.read_bytes()
    path.write_bytes(content[: max(1, int(share * len(content)))])
    refused(path, f"is not a complete {'PyTorch checkpoint' if suffix == '.pt' else 'safetensors file'}: ")


@pytest.mark.parametrize("share", [0.001, 0.1, 0.5, 0.9, 0.999])
def test_legacy_file_cut_short(tmp_path, network, share):
    path = tmp_path / "m.pt"
    torch.save(network.model.state_dict(), path, _use_new_zipfile_serialization=False)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    refused(path, "is not a complete PyTorch checkpoint: it is cut short, damaged or a file of another kind")


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("suffix", [".pt", ".safetensors", ".th"])
def test_random_bytes(tmp_path, suffix, seed):
    (tmp_path / f"m{suffix}").write_bytes(random.Random(seed).randbytes(5000))
    refused(tmp_path / f"m{suffix}", "is not a complete (PyTorch checkpoint|safetensors file): ")


@pytest.mark.parametrize("start", [b"PK\x03\x04", b"\x80\x02", b"\x80\x04", b"\x89HDF\r\n", b"\xff\xd8\xff\xe0"])
def test_random_bytes_behind_a_known_start(tmp_path, start):
    (tmp_path / "m.pt").write_bytes(start + random.Random(0).randbytes(5000))
    refused(tmp_path / "m.pt", "is not a complete PyTorch checkpoint: ")


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
@pytest.mark.parametrize("text", ["hello world\n" * 50, "version https://git-lfs.github.com/spec/v1\n", "<html>", "{}"])
def test_text_file(tmp_path, suffix, text):
    (tmp_path / f"m{suffix}").write_text(text)
    refused(tmp_path / f"m{suffix}", "is not a complete (PyTorch checkpoint|safetensors file): ")


@pytest.mark.parametrize("damage", range(10))
def test_flipped_bytes_never_escape_as_another_error(tmp_path, network, damage):
    path = tmp_path / "m.pt"
    save(network, path)
    content, source = bytearray(path.read_bytes()), random.Random(damage)
    for place in source.sample(range(len(content) - 3000, len(content)), 40):
        content[place] ^= 0xFF
    path.write_bytes(content)
    refused(path, "m.pt")


def test_message_never_advises_to_load_without_the_safeguard(tmp_path):
    (tmp_path / "m.pt").write_bytes(random.Random(0).randbytes(5000))
    with pytest.raises(CheckpointError) as caught:
        load(tmp_path / "m.pt")
    assert "weights_only" not in str(caught.value)


WRITERS = {
    "zip": lambda content, path: torch.save(content, path),
    "legacy": lambda content, path: torch.save(content, path, _use_new_zipfile_serialization=False),
    "pickle": lambda content, path: path.write_bytes(pickle.dumps(content, protocol=2)),
}


@pytest.mark.parametrize("writer", WRITERS)
@pytest.mark.parametrize("wrap", [lambda x: x, lambda x: {"state_dict": x}, lambda x: {"w": torch.zeros(1), "x": [x]}])
def test_pickle_that_would_run_code_is_refused_and_not_run(tmp_path, writer, wrap):
    WRITERS[writer](wrap(Harmful(tmp_path / "harm")), tmp_path / "m.pt")
    refused(tmp_path / "m.pt", r"is refused: .* loading it would run code it names \([\w.]+\); save the tensors")
    assert not (tmp_path / "harm").exists()


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
def test_pickle_of_any_protocol_is_refused_and_not_run(tmp_path, protocol):
    (tmp_path / "m.pt").write_bytes(pickle.dumps(Harmful(tmp_path / "harm"), protocol=protocol))
    refused(tmp_path / "m.pt", "is refused: |is not a complete PyTorch checkpoint: ")
    assert not (tmp_path / "harm").exists()


def test_code_is_not_run_even_when_the_architecture_is_trusted(tmp_path):
    torch.save({"state_dict": Harmful(tmp_path / "harm")}, tmp_path / "m.pt")
    refused(tmp_path / "m.pt", "is refused", arch="lenet5", trust_arch=True)
    assert not (tmp_path / "harm").exists()


def test_pickle_disguised_as_safetensors_is_not_run(tmp_path):
    torch.save(Harmful(tmp_path / "harm"), tmp_path / "m.safetensors")
    refused(tmp_path / "m.safetensors", "is not a complete safetensors file: ")
    assert not (tmp_path / "harm").exists()


def test_whole_pickled_module_is_refused_with_what_to_save(tmp_path):
    torch.save(nn.Linear(2, 2), tmp_path / "m.pt")
    refused(
        tmp_path / "m.pt",
        r"torch\.nn\.modules\.linear\.Linear\); save the tensors alone, with torch\.save\(model\.state",
    )


@pytest.mark.parametrize(
    "content",
    [{}, [], 5, None, "text", torch.zeros(3), [torch.zeros(3)], {"epoch": 3}, {"state_dict": {}}, {"model": [1]}],
    ids=str,
)
def test_file_without_named_tensors_is_refused(tmp_path, content):
    torch.save(content, tmp_path / "m.pt")
    refused(tmp_path / "m.pt", "holds no state dict: neither the file nor state_dict, model, .* maps names to tensors")
