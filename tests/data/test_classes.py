from dataclasses import replace

import pytest
import torch

from compressor.data import load_data
from compressor.data.samples import in_order_of


@pytest.fixture(scope="module")
def digits():
    data = load_data("digits")
    return replace(data, classes=tuple("abcdefghij"))


def test_labels_follow_the_order_of_the_network(digits):
    backwards = tuple(reversed(digits.classes))
    moved = in_order_of(digits, backwards)
    assert moved.classes == backwards
    for part in ("train", "val", "test"):
        assert torch.equal(getattr(moved, part).labels, 9 - getattr(digits, part).labels)


def test_a_network_may_know_more_classes_than_the_data(digits):
    moved = in_order_of(digits, ("extra", *digits.classes))
    assert torch.equal(moved.test.labels, digits.test.labels + 1)


@pytest.mark.parametrize("classes", [None, ("x", "y"), tuple("abcdefghij"), tuple("abcdefghiz")])
def test_labels_stay_when_names_do_not_decide(digits, classes):
    assert in_order_of(digits, classes) is digits
