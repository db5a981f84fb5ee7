"""What is known of a network is not measured again."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from compressor.checkpoints import load
from compressor.data import load_data
from compressor.splitting import SplittingConfig
from compressor.stages import fine_tune as stage
from compressor.stages.evaluate import evaluate
from compressor.training.recipe import Recipe


@pytest.fixture
def evaluated(monkeypatch):
    """How often the test part was gone through."""
    calls, measure = [], stage.measure

    def counted(*args, **options):
        calls.append(args)
        return measure(*args, **options)

    monkeypatch.setattr(stage, "measure", counted)
    return calls


@pytest.fixture(scope="module")
def network():
    return load("digits_lenet")


@pytest.fixture(scope="module")
def data(network):
    whole = load_data("digits", network.metadata.input_shape)
    return replace(whole, train=whole.train.take(torch.arange(128)))


def test_a_projection_that_changes_no_weight_has_the_metric_of_the_training(network, data, evaluated):
    tuned = stage.fine_tune(network, data, Recipe(epochs=2, batch_size=16), SplittingConfig(target_macs=0.5))
    assert tuned.record.projection.gap == 0
    assert tuned.record.projected == tuned.record.trained
    assert len(evaluated) == 2  # before and after
    assert evaluate(tuned.network, data).metric == tuned.record.projected


def test_a_projection_with_a_gap_is_measured(network, data, evaluated):
    penalties = SplittingConfig(method="paper", penalty="l1", strength=30.0, group_penalty="none")
    tuned = stage.fine_tune(network, data, Recipe(epochs=1, batch_size=16), penalties)
    assert tuned.record.projection.gap > 0
    assert len(evaluated) == 3


def test_a_metric_that_is_given_is_not_measured(network, data, evaluated):
    known = evaluate(network, data).metric
    tuned = stage.fine_tune(network, data, Recipe(epochs=1, batch_size=16), before=known)
    assert tuned.record.before is known
    assert len(evaluated) == 1
