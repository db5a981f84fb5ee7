from __future__ import annotations

import json

import pytest
import torch
from torch import nn

from compressor.codec import encode
from compressor.data import feeds
from compressor.data.samples import Samples
from compressor.errors import DataError
from compressor.training.evaluation import accuracy_of, model_accuracy

SAMPLES = Samples(torch.tensor([0, 255, 255, 0], dtype=torch.uint8).view(4, 1, 1, 1), torch.tensor([0, 1, 0, 0]))


class Bright(nn.Module):
    """Class 1 for bright images."""

    def forward(self, images):
        level = images.flatten(1)
        return torch.cat([1 - level, level], 1)


def accuracy(model, samples):
    return model_accuracy(model, samples, None)


# Newcombe, "Two-sided confidence intervals for the single proportion", Statist. Med. 17, 1998, table I, method 3.
@pytest.mark.parametrize(
    ("right", "n", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_intervals_are_the_published_ones(right, n, low, high):
    assert accuracy_of(right / n, n).ci95 == pytest.approx((low, high), abs=6e-5)


@pytest.mark.parametrize("n", [1, 7, 1000])
@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_the_interval_lies_around_the_value_and_in_0_to_1(share, n):
    low, high = accuracy_of(share, n).ci95
    assert 0 <= low <= share + 1e-12
    assert share - 1e-12 <= high <= 1


def test_accuracy_is_the_share_of_right_classes():
    assert accuracy(Bright(), SAMPLES) == accuracy_of(0.75, 4)


@pytest.mark.parametrize("batch_size", [1, 3, 4, 100])
def test_accuracy_does_not_depend_on_the_batch_size(monkeypatch, batch_size):
    monkeypatch.setattr(feeds, "MEASURED", batch_size)
    assert accuracy(Bright(), SAMPLES).value == 0.75


def test_plain_form_holds_value_count_and_interval():
    plain = json.loads(encode(accuracy_of(0.5, 10)))
    assert (plain["name"], plain["unit"], plain["direction"]) == ("accuracy", "share", "higher")
    assert (plain["value"], plain["n"], len(plain["ci95"])) == (0.5, 10, 2)


def test_no_samples_are_refused():
    with pytest.raises(DataError, match="there are no samples to evaluate on; choose another part"):
        accuracy(Bright(), SAMPLES.take(torch.tensor([], dtype=torch.int64)))


def test_outputs_that_are_no_class_scores_are_refused():
    with pytest.raises(DataError, match="the network returns 4x1x1x1 for 4 images; class scores"):
        accuracy(nn.Identity(), SAMPLES)


def test_the_modes_of_all_modules_are_restored():
    model = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(1), nn.Linear(1, 2)).train()
    model[1].eval()
    model_accuracy(model, SAMPLES, None)
    assert [module.training for module in model.modules()] == [True, True, False, True]


def test_evaluation_is_in_eval_mode():
    model = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(1), nn.Linear(1, 2)).train()
    model_accuracy(model, SAMPLES, None)
    assert model[1].num_batches_tracked == 0
