from __future__ import annotations

import numpy as np
import pytest
import torch

from compressor.data import load_data
from compressor.data.digits import FILE
from compressor.data.normalization import Normalization
from compressor.data.samples import Augmentation
from compressor.errors import DataError


def all_images(data):
    return torch.cat([part.images for part in (data.train, data.val, data.test)])


def test_there_are_1797_digits_of_ten_classes():
    data = load_data("digits")
    assert len(all_images(data)) == 1797
    assert data.classes == tuple("0123456789")
    assert data.input_shape == (1, 8, 8)


def test_brightness_uses_the_whole_range():
    images = all_images(load_data("digits"))
    assert images.dtype == torch.uint8
    assert (images.min(), images.max()) == (0, 255)
    assert len(images.unique()) == 17


def test_digits_are_the_ones_of_scikit_learn():
    sklearn = pytest.importorskip("sklearn.datasets")
    expected = sklearn.load_digits()
    with np.load(FILE) as stored:
        assert np.array_equal(stored["images"], expected.images)
        assert np.array_equal(stored["labels"], expected.target)


def test_digits_are_repeated_to_three_equal_channels():
    images = load_data("digits", (3, 8, 8)).test.images
    assert torch.equal(images, load_data("digits").test.images.repeat(1, 3, 1, 1))


def test_digits_are_enlarged_bilinearly():
    small, large = load_data("digits").test.images, load_data("digits", (1, 32, 24)).test.images
    expected = torch.nn.functional.interpolate(small.float(), (32, 24), mode="bilinear")
    assert large.shape[1:] == (1, 32, 24)
    assert (large - expected).abs().max() <= 0.51


@pytest.mark.parametrize(("height", "shift"), [(8, 0), (32, 2), (64, 4)])
def test_shift_grows_with_the_height_and_digits_are_never_mirrored(height, shift):
    assert load_data("digits", (1, height, 8)).augmentation == Augmentation(shift=shift, flip=False)


def test_no_normalization_is_suggested():
    assert load_data("digits").normalization == Normalization.none()


def test_two_channels_are_refused():
    with pytest.raises(DataError, match="digits gives 1 or 3 channels, the network wants 2"):
        load_data("digits", (2, 8, 8))


def test_images_that_fill_the_memory_are_refused():
    with pytest.raises(DataError, match=r"1797 images of 3x4096x4096 needs 168.5 GiB .* at most 3.0 GiB"):
        load_data("digits", (3, 4096, 4096))


def test_attribution_lies_beside_the_file():
    text = FILE.with_name("digits.LICENSE.txt").read_text()
    assert "Alpaydin" in text
    assert "CC BY 4.0" in text
