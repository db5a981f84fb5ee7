from __future__ import annotations

from itertools import chain

import numpy as np
import pytest
import torch

from compressor.data import load_data
from compressor.data.reader import Parts
from compressor.data.samples import Augmentation, Samples
from compressor.data.split import split, subset


def samples(*sizes):
    """As many samples of each class as said; the image is the sample's number in two bytes."""
    labels = torch.cat([torch.full((size,), label) for label, size in enumerate(sizes)])
    numbers = torch.arange(len(labels))
    return Samples(torch.stack((numbers // 256, numbers % 256), 1).to(torch.uint8).view(-1, 1, 1, 2), labels)


def numbers(part):
    high, low = part.images.long().view(-1, 2).unbind(1)
    return (high * 256 + low).tolist()


def parts(train, **others):
    return Parts(train=train, classes=("a", "b"), augmentation=Augmentation(), **others)


def test_split_keeps_every_sample_exactly_once():
    found = split(parts(samples(50, 30)), val_fraction=0.25, seed=0)
    assert sorted(chain(*map(numbers, found))) == list(range(80))


def test_split_keeps_the_proportions_of_the_classes():
    train, val, test = split(parts(samples(100, 50)), val_fraction=0.25, seed=0)
    assert [part.labels.bincount().tolist() for part in (train, val, test)] == [[60, 30], [20, 10], [20, 10]]


@pytest.mark.parametrize("val_fraction", [0.0, 0.2, 0.5])
def test_val_fraction_does_not_change_the_test_part(val_fraction):
    data = parts(samples(50, 31))
    assert numbers(split(data, val_fraction=val_fraction, seed=4)[2]) == numbers(
        split(data, val_fraction=0.1, seed=4)[2]
    )


def test_seed_changes_the_test_part():
    data = parts(samples(50, 31))
    first, second = (set(numbers(split(data, val_fraction=0.1, seed=seed)[2])) for seed in (0, 1))
    assert first != second


def test_split_is_the_same_on_every_machine_and_in_every_version():
    train, val, test = split(parts(samples(6, 4)), val_fraction=0.25, seed=0)
    assert (numbers(train), numbers(val), numbers(test)) == ([0, 6, 1, 2, 9, 4], [7, 5], [3, 8])


@pytest.mark.parametrize("which", [0, 1, 2])
def test_beginning_of_every_part_holds_every_class(which):
    part = split(parts(samples(*[300] * 5)), val_fraction=0.25, seed=0)[which]
    assert part.labels[:50].bincount().min() >= 1
    assert part.labels[-50:].bincount().min() >= 1


def test_fraction_of_zero_gives_an_empty_validation_part():
    assert len(split(parts(samples(20, 20)), val_fraction=0.0, seed=0)[1]) == 0


def test_small_fraction_of_few_samples_still_gives_a_sample():
    assert len(split(parts(samples(4, 4)), val_fraction=0.01, seed=0)[1]) == 1


def test_test_part_of_the_data_is_kept_as_it_is():
    test = samples(3, 3)
    assert split(parts(samples(10, 10), test=test), val_fraction=0.1, seed=0)[2] is test


def test_validation_part_of_the_data_is_kept_as_it_is():
    val = samples(3, 3)
    train, found, _ = split(parts(samples(10, 10), val=val, test=val), val_fraction=0.1, seed=0)
    assert found is val
    assert len(train) == 20


def test_subset_has_exactly_the_size_and_the_proportions():
    found = subset(samples(200, 100), 31, seed=0)
    assert len(found) == 31
    assert found.labels.bincount().tolist() in ([21, 10], [20, 11])


def test_smaller_subset_lies_in_the_larger():
    data = samples(30, 60)
    small, large = (set(numbers(subset(data, count, seed=5))) for count in (10, 20))
    assert small < large


def test_subset_above_the_size_is_everything():
    assert sorted(numbers(subset(samples(3, 4), 100, seed=0))) == list(range(7))


def test_max_train_leaves_val_and_test_alone():
    whole, few = load_data("digits"), load_data("digits", max_train=50)
    assert len(few.train) == 50
    assert torch.equal(whole.val.images, few.val.images)
    assert torch.equal(whole.test.images, few.test.images)


def test_class_without_samples_does_no_harm():
    train, _, test = split(parts(samples(10, 0, 10)), val_fraction=0.0, seed=0)
    assert np.array_equal(test.labels.bincount(), [2, 0, 2])
    assert len(train) == 16
