from __future__ import annotations

from itertools import chain

import pytest
import torch

from compressor.data.batches import batches
from compressor.data.normalization import Normalization
from compressor.data.samples import Augmentation, Samples
from compressor.errors import UsageError

# Every image is one colour, its own number, which is its label too.
NUMBERED = Samples(torch.arange(10, dtype=torch.uint8).view(-1, 1, 1, 1).repeat(1, 1, 4, 4), torch.arange(10))


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def labels(**options):
    return [y.tolist() for _, y in batches(NUMBERED, normalization=None, **options)]


def test_order_is_fixed_without_shuffle():
    assert labels(batch_size=4) == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]


def test_drop_last_leaves_out_the_short_batch():
    assert labels(batch_size=4, drop_last=True) == [[0, 1, 2, 3], [4, 5, 6, 7]]


def test_drop_last_keeps_a_last_batch_that_is_full():
    assert labels(batch_size=5, drop_last=True) == [[0, 1, 2, 3, 4], [5, 6, 7, 8, 9]]


def test_shuffle_shows_every_sample_once():
    assert sorted(chain(*labels(batch_size=3, shuffle=generator()))) == list(range(10))


def test_same_seed_gives_the_same_order():
    assert labels(batch_size=3, shuffle=generator(1)) == labels(batch_size=3, shuffle=generator(1))


def test_next_epoch_of_one_generator_has_another_order():
    shuffle = generator()
    assert labels(batch_size=10, shuffle=shuffle) != labels(batch_size=10, shuffle=shuffle)


def test_images_stay_with_their_labels():
    for x, y in batches(NUMBERED, batch_size=4, normalization=None, shuffle=generator()):
        assert x[:, 0, 0, 0].mul(255).round().tolist() == y.tolist()


def test_batches_are_normalised_float32_with_int64_labels():
    x, y = next(batches(NUMBERED, batch_size=2, normalization=Normalization((0.0,), (1 / 255,))))
    assert (x.dtype, y.dtype, x[1].unique().tolist()) == (torch.float32, torch.int64, [1.0])


def test_no_samples_give_no_batches():
    assert list(batches(NUMBERED.take(torch.tensor([], dtype=torch.long)), batch_size=2, normalization=None)) == []


def test_augmentation_without_shuffle_is_refused_at_once():
    with pytest.raises(ValueError, match="shuffle generator"):
        batches(NUMBERED, batch_size=2, normalization=None, augmentation=Augmentation(flip=True))


def test_batch_size_of_zero_is_refused_at_once():
    with pytest.raises(UsageError, match="batch size must be at least 1, got 0"):
        batches(NUMBERED, batch_size=0, normalization=None)


def test_batch_that_drop_last_would_always_drop_is_refused():
    with pytest.raises(UsageError, match="batch size 11 is more than the 10 samples"):
        batches(NUMBERED, batch_size=11, normalization=None, drop_last=True)


def test_negative_shift_is_refused():
    with pytest.raises(UsageError, match="shift must be 0 or more pixels, got -1"):
        Augmentation(shift=-1)


def pictures(count):
    return torch.randint(1, 256, (count, 3, 5, 6), dtype=torch.uint8, generator=generator(7))


def every_shift(image, shift):
    padded = torch.nn.functional.pad(image, (shift,) * 4)
    _, height, width = image.shape
    steps = range(2 * shift + 1)
    return [padded[:, i : i + height, j : j + width] for i in steps for j in steps]


def test_shifted_image_is_one_of_the_crops_of_the_padded_image():
    images = pictures(40)
    shifted = Augmentation(shift=2).apply(images, generator())
    for image, found in zip(images, shifted, strict=True):
        assert any(torch.equal(found, crop) for crop in every_shift(image, 2))


def test_every_shift_is_drawn():
    image = pictures(1)
    shifted = Augmentation(shift=1).apply(image.repeat(200, 1, 1, 1), generator())
    for crop in every_shift(image[0], 1):
        assert (shifted == crop).flatten(1).all(1).any()


def test_flip_mirrors_about_half_of_the_images_and_leaves_the_others():
    images = pictures(1000)
    flipped = Augmentation(flip=True).apply(images, generator())
    mirrored = (flipped == images.flip(-1)).flatten(1).all(1)
    same = (flipped == images).flatten(1).all(1)
    assert (mirrored ^ same).all()
    assert 430 < mirrored.sum() < 570


def test_augmentation_leaves_its_input_alone():
    images = pictures(8)
    before = images.clone()
    Augmentation(shift=2, flip=True).apply(images, generator())
    assert torch.equal(images, before)


def test_default_augmentation_changes_nothing():
    images = pictures(8)
    assert torch.equal(Augmentation().apply(images, generator()), images)


def test_augmented_batches_repeat_with_the_seed():
    def epoch():
        augmentation = Augmentation(shift=1, flip=True)
        options = {"shuffle": generator(3), "augmentation": augmentation}
        return torch.cat([x for x, _ in batches(NUMBERED, batch_size=4, normalization=None, **options)])

    assert torch.equal(epoch(), epoch())


@pytest.mark.gpu
def test_batches_on_a_gpu_equal_those_on_the_cpu():
    def epoch(device):
        options = {
            "shuffle": generator(3),
            "augmentation": Augmentation(shift=1, flip=True),
            "device": device,
        }
        return [x.cpu() for x, _ in batches(NUMBERED, batch_size=4, normalization=None, **options)]

    for x, y in zip(epoch("cpu"), epoch("cuda"), strict=True):
        torch.testing.assert_close(x, y)
