from __future__ import annotations

import zipfile

import numpy as np
import pytest
import torch

from compressor.data import load_data
from compressor.data.samples import Augmentation
from compressor.errors import DataError
from compressor.limits import memory_limit

LABELS = np.arange(30) % 3
GREY = np.arange(30 * 4 * 5, dtype=np.uint8).reshape(30, 4, 5)


def save(folder, **arrays):
    np.savez(folder / "data.npz", **arrays)
    return f"npz:{folder / 'data.npz'}"


def refused(folder, match, shape=None, **arrays):
    with pytest.raises(DataError, match=match):
        load_data(save(folder, **arrays), shape)


def three(ending_of):
    """Arrays of the official parts, each filled with its own number."""
    return {
        f"{axis}_{part}": np.full((6, 2, 2), fill, np.uint8) if axis == "x" else np.arange(6) % 2
        for fill, part in enumerate(ending_of)
        for axis in "xy"
    }


def test_one_pair_of_arrays_is_split(tmp_path):
    data = load_data(save(tmp_path, x=GREY, y=LABELS))
    assert (len(data.train), len(data.val), len(data.test)) == (22, 2, 6)
    assert data.input_shape == (1, 4, 5)


def test_test_arrays_are_the_test_part(tmp_path):
    data = load_data(save(tmp_path, **three(["train", "test"])), val_fraction=0.5)
    assert data.test.images.eq(1).all()
    assert (len(data.train), len(data.val), len(data.test)) == (3, 3, 6)


def test_validation_arrays_are_the_validation_part(tmp_path):
    data = load_data(save(tmp_path, **three(["train", "test", "val"])))
    assert data.val.images.eq(2).all()
    assert (len(data.train), len(data.val), len(data.test)) == (6, 6, 6)


def test_channels_may_come_last(tmp_path):
    images = np.zeros((30, 4, 5, 3), np.uint8)
    images[..., 2] = 9
    data = load_data(save(tmp_path, x=images, y=LABELS))
    assert data.input_shape == (3, 4, 5)
    assert data.train.images[:, 2].eq(9).all()


@pytest.mark.parametrize(
    ("stored", "wanted", "native"),
    [
        ((4, 5, 6), (4, 5, 6), (4, 5, 6)),
        ((5, 6, 4), (4, 5, 6), (4, 5, 6)),
        ((3, 5, 3), (3, 5, 3), (3, 5, 3)),
        ((3, 5, 3), (3, 3, 5), (3, 3, 5)),
        ((3, 5, 3), None, (3, 5, 3)),
    ],
)
def test_shape_of_the_network_decides_where_the_channels_are(tmp_path, stored, wanted, native):
    data = load_data(save(tmp_path, x=np.zeros((30, *stored), np.uint8), y=LABELS), wanted)
    assert data.input_shape == native


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64])
def test_floats_are_rounded_to_bytes(tmp_path, kind):
    images = np.tile(np.array([[0.0, 0.25, 1.0]], kind), (30, 1, 1))
    data = load_data(save(tmp_path, x=images, y=LABELS))
    assert data.train.images.unique().tolist() == [0, 64, 255]


def test_class_names_are_read(tmp_path):
    names = np.array(["cat", "dog", "owl", "yak"])
    assert load_data(save(tmp_path, x=GREY, y=LABELS, classes=names)).classes == ("cat", "dog", "owl", "yak")


def test_classes_without_names_are_numbered(tmp_path):
    assert load_data(save(tmp_path, x=GREY, y=LABELS.astype(np.uint8))).classes == ("0", "1", "2")


def test_nothing_is_suggested(tmp_path):
    data = load_data(save(tmp_path, x=GREY, y=LABELS))
    assert (data.normalization, data.augmentation) == (None, Augmentation())


def test_shape_that_differs_from_the_network_is_refused_with_both(tmp_path):
    refused(
        tmp_path,
        "data.npz holds images of 3x4x5, the network wants 1x28x28",
        (1, 28, 28),
        x=np.zeros((30, 4, 5, 3), np.uint8),
        y=LABELS,
    )


@pytest.mark.parametrize("value", [-0.1, 1.1, np.nan])
def test_floats_outside_the_unit_range_are_refused(tmp_path, value):
    refused(tmp_path, r"holds floats from .* expected \[0, 1\]", x=np.full((30, 2, 2), value), y=LABELS)


@pytest.mark.parametrize("kind", [np.int64, np.int8, bool, np.complex64])
def test_other_types_of_images_are_refused(tmp_path, kind):
    refused(tmp_path, "holds images of type .* expected uint8 or floats", x=GREY.astype(kind), y=LABELS)


@pytest.mark.parametrize("shape", [(30,), (30, 4), (0, 4, 4), (30, 4, 0), (2, 1, 1, 4, 4)])
def test_arrays_that_are_no_images_are_refused(tmp_path, shape):
    refused(tmp_path, r"holds images of shape .* expected \(images, height", x=np.zeros(shape, np.uint8), y=LABELS)


@pytest.mark.parametrize("labels", [LABELS.astype(float), LABELS[:, None], LABELS > 1])
def test_labels_that_are_not_one_integer_per_image_are_refused(tmp_path, labels):
    refused(tmp_path, "labels y are .* expected one integer per image", x=GREY, y=labels)


def test_negative_label_is_refused(tmp_path):
    refused(tmp_path, "labels y go down to -1, expected 0 or more", x=GREY, y=LABELS - 1)


def test_label_without_samples_is_refused_when_classes_have_no_names(tmp_path):
    refused(tmp_path, "no sample for some labels from 0 to 4; .* add the array classes", x=GREY, y=LABELS * 2)


def test_label_without_a_name_is_refused(tmp_path):
    names = np.array(["a", "b"])
    refused(tmp_path, "holds the label 2, but only 2 class names", x=GREY, y=LABELS, classes=names)


@pytest.mark.parametrize("classes", [np.arange(3), np.array([["a", "b", "c"]])])
def test_class_names_that_are_no_names_are_refused(tmp_path, classes):
    refused(tmp_path, "classes are .* expected names", x=GREY, y=LABELS, classes=classes)


def test_counts_that_differ_are_refused(tmp_path):
    refused(tmp_path, "holds 30 images x, but 29 labels y", x=GREY, y=LABELS[:29])


def test_parts_of_different_shape_are_refused(tmp_path):
    arrays = three(["train", "test"]) | {"x_test": np.zeros((6, 3, 3), np.uint8)}
    refused(tmp_path, "holds images of different shapes: 1x2x2, 1x3x3", **arrays)


@pytest.mark.parametrize("names", [["x"], ["x", "y", "z"], ["x", "y", "x_test", "y_test"], ["x_train", "y_train"]])
def test_other_arrays_are_refused_with_the_right_names(tmp_path, names):
    refused(tmp_path, r"holds the arrays .*, expected x, y or x_train", **dict.fromkeys(names, GREY))


def test_missing_file_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"there is no file .*nothing\.npz"):
        load_data(f"npz:{tmp_path / 'nothing.npz'}")


def test_pickled_objects_are_refused(tmp_path):
    refused(tmp_path, "is not an npz file of plain arrays", x=np.array([{}, 1], dtype=object), y=LABELS)


def write_text(file):
    file.write_text("hello")


def write_empty(file):
    file.write_bytes(b"")


def write_single_array(file):
    with file.open("wb") as stream:
        np.save(stream, GREY)


def write_damaged(file):
    np.savez_compressed(file, x=GREY, y=LABELS)
    content = bytearray(file.read_bytes())
    content[60:120] = bytes(60)
    file.write_bytes(content)


def write_foreign_zip(file):
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("x", "hello")
        archive.writestr("y", "hello")


@pytest.mark.parametrize("write", [write_text, write_empty, write_single_array, write_damaged, write_foreign_zip])
def test_file_that_is_no_npz_is_refused(tmp_path, write):
    write(tmp_path / "data.npz")
    with pytest.raises(DataError, match=r"data\.npz is not an npz file of plain arrays"):
        load_data(f"npz:{tmp_path / 'data.npz'}")


def test_file_that_unpacks_to_too_much_is_refused_before_reading(tmp_path):
    np.savez_compressed(tmp_path / "data.npz", x=np.zeros((30, 1, 1000, 1000), np.uint8), y=LABELS)
    with memory_limit(50 * 2**20), pytest.raises(DataError, match=r"unpacked needs .* --max-memory allows more"):
        load_data(f"npz:{tmp_path / 'data.npz'}")


def test_labels_become_int64(tmp_path):
    assert load_data(save(tmp_path, x=GREY, y=LABELS.astype(np.int8))).test.labels.dtype == torch.int64
