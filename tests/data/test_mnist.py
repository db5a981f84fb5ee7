from __future__ import annotations

import gzip
import struct

import numpy as np
import pytest
import torch

from compressor.data import load_data
from compressor.data.normalization import Normalization
from compressor.data.samples import Augmentation
from compressor.errors import DataError


def idx(array):
    """The bytes of an idx file."""
    return struct.pack(f">4B{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes()


def contents():
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (50, 28, 28), dtype=np.uint8)
    labels = np.arange(50, dtype=np.uint8) % 10
    return {
        "train-images-idx3-ubyte": idx(images[:40]),
        "train-labels-idx1-ubyte": idx(labels[:40]),
        "t10k-images-idx3-ubyte": idx(images[40:]),
        "t10k-labels-idx1-ubyte": idx(labels[40:]),
    }


def write(folder, files=None):
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in (files or contents()).items():
        (folder / name).write_bytes(content)
    return folder


def replace(folder, name, content):
    write(folder)
    (folder / name).write_bytes(content)
    return f"mnist:{folder}"


def dotted(files):
    return {name.replace("-idx", ".idx"): content for name, content in files.items()}


def zipped(files):
    return {f"{name}.gz": gzip.compress(content) for name, content in files.items()}


@pytest.mark.parametrize("place", [".", "MNIST/raw", "raw"])
@pytest.mark.parametrize("name", [dict, dotted, zipped, lambda files: zipped(dotted(files))])
def test_files_are_found_under_all_their_usual_names(tmp_path, place, name):
    write(tmp_path / place, name(contents()))
    data = load_data(f"mnist:{tmp_path}")
    assert (len(data.train), len(data.val), len(data.test)) == (36, 4, 10)


def test_pixels_and_labels_of_the_test_part_are_kept_in_order(tmp_path):
    data = load_data(f"mnist:{write(tmp_path)}")
    pixels = np.frombuffer(contents()["t10k-images-idx3-ubyte"][16:], np.uint8)
    assert np.array_equal(data.test.images.flatten(), pixels)
    assert data.test.labels.tolist() == list(range(10))
    assert data.test.labels.dtype == torch.int64


def test_official_test_part_does_not_depend_on_the_seed(tmp_path):
    write(tmp_path)
    first, second = (load_data(f"mnist:{tmp_path}", split_seed=seed).test.images for seed in (0, 1))
    assert torch.equal(first, second)


def test_suggestions_fit_written_digits(tmp_path):
    data = load_data(f"mnist:{write(tmp_path)}")
    assert data.augmentation == Augmentation(shift=2, flip=False)
    assert data.normalization == Normalization.none()
    assert data.classes == tuple("0123456789")


def test_images_are_resized_and_repeated_to_what_the_network_wants(tmp_path):
    data = load_data(f"mnist:{write(tmp_path)}", (3, 32, 20))
    assert data.input_shape == (3, 32, 20)
    assert torch.equal(data.test.images[:, 0], data.test.images[:, 2])


def test_two_channels_are_refused(tmp_path):
    with pytest.raises(DataError, match="1 or 3 channels, the network wants 2"):
        load_data(f"mnist:{write(tmp_path)}", (2, 28, 28))


def test_missing_file_is_named_with_where_it_was_sought(tmp_path):
    write(tmp_path)
    (tmp_path / "t10k-labels-idx1-ubyte").unlink()
    with pytest.raises(DataError, match=r"no t10k-labels-idx1-ubyte or .*\.gz in .*, nor in its MNIST/raw or raw"):
        load_data(f"mnist:{tmp_path}")


@pytest.mark.parametrize("start", [b"PK\3\4", b"\0\0\x0d\3", b"\0\0\x08\1", b""])
def test_wrong_magic_is_refused(tmp_path, start):
    ref = replace(tmp_path, "train-images-idx3-ubyte", start)
    with pytest.raises(DataError, match="train-images-idx3-ubyte is not an idx file of bytes in 3D: it starts"):
        load_data(ref)


def test_images_of_another_size_are_refused(tmp_path):
    ref = replace(tmp_path, "train-images-idx3-ubyte", idx(np.zeros((40, 28, 27), np.uint8)))
    with pytest.raises(DataError, match="train-images-idx3-ubyte holds images of 28x27, expected 28x28"):
        load_data(ref)


def test_counts_of_images_and_labels_that_differ_are_refused(tmp_path):
    ref = replace(tmp_path, "t10k-labels-idx1-ubyte", idx(np.zeros(9, np.uint8)))
    with pytest.raises(DataError, match=r"holds 10 images, .*t10k-labels-idx1-ubyte 9 labels"):
        load_data(ref)


def test_label_above_nine_is_refused(tmp_path):
    ref = replace(tmp_path, "t10k-labels-idx1-ubyte", idx(np.full(10, 11, np.uint8)))
    with pytest.raises(DataError, match="t10k-labels-idx1-ubyte holds the label 11, expected 0 to 9"):
        load_data(ref)


@pytest.mark.parametrize("change", [lambda content: content[:-1], lambda content: content + b"\0"])
def test_file_longer_or_shorter_than_its_header_says_is_refused(tmp_path, change):
    ref = replace(tmp_path, "train-labels-idx1-ubyte", change(contents()["train-labels-idx1-ubyte"]))
    with pytest.raises(DataError, match="train-labels-idx1-ubyte does not hold the 40 values"):
        load_data(ref)


def test_header_that_promises_terabytes_is_refused(tmp_path):
    ref = replace(tmp_path, "train-images-idx3-ubyte", struct.pack(">4B3I", 0, 0, 8, 3, 2**31, 28, 28))
    with pytest.raises(
        DataError, match=r"1683627180032 values, as its header promises, needs .* --max-memory allows more"
    ):
        load_data(ref)


def test_file_that_ends_in_its_header_is_refused(tmp_path):
    ref = replace(tmp_path, "train-images-idx3-ubyte", struct.pack(">4BI", 0, 0, 8, 3, 40))
    with pytest.raises(DataError, match=r"train-images-idx3-ubyte cannot be read: unpack"):
        load_data(ref)


@pytest.mark.parametrize("damage", [lambda content: content[:30], lambda content: b"not gzip"])
def test_damaged_gzip_is_refused(tmp_path, damage):
    files = zipped(contents())
    files["train-images-idx3-ubyte.gz"] = damage(files["train-images-idx3-ubyte.gz"])
    with pytest.raises(DataError, match=r"train-images-idx3-ubyte\.gz cannot be read: "):
        load_data(f"mnist:{write(tmp_path, files)}")


def test_file_without_images_is_refused(tmp_path):
    files = contents() | {
        "t10k-images-idx3-ubyte": idx(np.zeros((0, 28, 28), np.uint8)),
        "t10k-labels-idx1-ubyte": idx(np.zeros(0, np.uint8)),
    }
    with pytest.raises(DataError, match="t10k-images-idx3-ubyte holds no images"):
        load_data(f"mnist:{write(tmp_path, files)}")
