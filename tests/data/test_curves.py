from __future__ import annotations

import matplotlib
import pytest
import torch
from numpy.random import PCG64, Generator
from torch.nn.functional import avg_pool2d

from compressor.data import curves, load_data
from compressor.data.curves import CHUNK, TREMOR, WORDS, Curves, _moved, shared_out
from compressor.data.samples import Augmentation
from compressor.errors import DataError, UsageError


@pytest.fixture(scope="module")
def data():
    return load_data("curves", val_fraction=0.0)


@pytest.fixture
def small(monkeypatch):
    for part in ("TRAIN", "TEST"):
        monkeypatch.setattr(curves, part, CHUNK)
    return Curves()


def statistics(samples, *names):
    """Columns of global figures that know nothing of shapes, and a constant."""
    images = samples.images.double() / 255
    columns = {
        "mean": images.mean((1, 2, 3)),
        "deviation": images.std((1, 2, 3)),
        "brightest": images.amax((1, 2, 3)),
        "share of grey": ((images > 0.2) & (images < 0.8)).double().mean((1, 2, 3)),
    }
    return torch.stack([torch.ones(len(samples), dtype=torch.float64), *(columns[name] for name in names)], dim=1)


def linear_accuracy(train, train_labels, test, test_labels):
    weights = torch.linalg.lstsq(train, 2 * train_labels.double()[:, None] - 1, driver="gelsd").solution
    return ((test @ weights)[:, 0].gt(0) == test_labels.bool()).double().mean()


def grid(shaky):
    return _moved(torch.full((CHUNK, 1, 1), shaky), Generator(PCG64(1)))


def test_images_are_grey_and_48_by_96(data):
    assert data.input_shape == (1, 48, 96)
    assert data.train.images.dtype == torch.uint8
    assert (len(data.train), len(data.test)) == (6000, 2000)


def test_half_of_each_part_is_shaky(data):
    assert data.classes == ("regular", "shaky")
    assert [part.labels.double().mean() for part in (data.train, data.test)] == [0.5, 0.5]


def test_two_readings_give_the_same_images(small):
    again, once = small.read("", None), small.read("", None)
    assert torch.equal(again.test.images, once.test.images)
    assert torch.equal(again.train.images, once.train.images)


def test_the_test_part_does_not_depend_on_the_training_part(data, small):
    assert torch.equal(small.read("", None).test.images, data.test.images[:CHUNK])


def test_no_text_is_in_both_parts():
    test, train = map(set, shared_out(Generator(PCG64(0))))
    assert not test & train
    assert set(WORDS.split()) < test | train


def test_both_parts_have_words_and_numbers():
    for texts in shared_out(Generator(PCG64(0))):
        assert 0.3 < sum(text.isdigit() for text in texts) / len(texts) < 0.7


def test_every_image_shows_something_and_no_two_are_the_same(data):
    images = torch.cat([data.train.images, data.test.images]).flatten(1)
    assert images.amax(1).min() > 128
    assert len(images.unique(dim=0)) == 8000


@pytest.mark.parametrize("names", [("mean", "deviation"), ("brightest",), ("mean", "deviation", "share of grey")])
def test_brightness_and_blur_say_nothing_about_the_class(data, names):
    parts = [(statistics(part, *names), part.labels) for part in (data.train, data.test)]
    assert linear_accuracy(*parts[0], *parts[1]) < 0.55


def test_coarse_pixels_say_almost_nothing_to_a_linear_classifier(data):
    coarse = [avg_pool2d(part.images.double(), 4).flatten(1) for part in (data.train, data.test)]
    assert linear_accuracy(coarse[0], data.train.labels, coarse[1], data.test.labels) < 0.6


def test_tremor_moves_pixels_as_far_as_it_says():
    pixels = (grid(1.0) - grid(0.0)) * torch.tensor([48.0, 24.0])
    assert TREMOR[0] < pixels.square().mean().sqrt() < TREMOR[1]


def test_half_the_tremor_is_half_the_movement():
    torch.testing.assert_close(grid(0.5), (grid(0.0) + grid(1.0)) / 2)


def test_the_network_can_ask_for_another_shape(small):
    parts = small.read("", (3, 24, 48))
    assert parts.train.images.shape == (CHUNK, 3, 24, 48)
    assert parts.augmentation == Augmentation(shift=1)


def test_two_channels_are_refused():
    with pytest.raises(DataError, match="curves gives 1 or 3 channels, the network wants 2"):
        load_data("curves", (2, 48, 96))


def test_a_place_is_refused():
    with pytest.raises(UsageError, match="takes nothing after its name"):
        load_data("curves:here")


def test_missing_fonts_are_an_error_that_names_the_file(monkeypatch, tmp_path):
    monkeypatch.setattr(matplotlib, "get_data_path", lambda: str(tmp_path))
    with pytest.raises(DataError, match=r"drawn with the fonts of matplotlib, but .*\.ttf cannot be read"):
        load_data("curves")
