from __future__ import annotations

import pytest
import torch

from compressor.checkpoints import Metadata, Network
from compressor.data.normalization import Normalization
from compressor.data.samples import Augmentation, DataSet, Samples
from compressor.sources import Architecture
from compressor.stages.samples import real_inputs


def data(count):
    """Images whose brightness is their place; sorted by class, as a folder with a test part of its own is."""
    images = torch.arange(count, dtype=torch.uint8).view(-1, 1, 1, 1)
    samples = Samples(images, torch.arange(count) * 4 // count)
    return DataSet(ref="x", train=samples, val=samples, test=samples, classes=tuple("abcd"), normalization=None,
                   augmentation=Augmentation(), split_seed=0, val_fraction=0.1)  # fmt: skip


def network(normalization=None):
    known = Metadata(architecture=Architecture("tiny"), input_shape=(1, 1, 1), normalization=normalization)
    return Network(torch.nn.Identity(), known)


@pytest.mark.parametrize("count", [16, 20, 31, 64, 100])
def test_samples_are_drawn_from_the_whole_part(count):
    places = (real_inputs(network(), data(count)).flatten() * 255).round().int().tolist()
    assert len(places) == 16
    assert {place * 4 // count for place in places} == {0, 1, 2, 3}


def test_few_samples_are_taken_all():
    assert len(real_inputs(network(), data(3))) == 3


def test_they_are_normalised_as_the_network_wants():
    drawn = real_inputs(network(Normalization((0.5,), (0.5,))), data(3))
    torch.testing.assert_close(drawn.flatten(), (torch.arange(3) / 255 - 0.5) / 0.5)


def test_without_data_there_are_none():
    assert real_inputs(network(), None) is None
