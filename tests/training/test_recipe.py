from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from torch import nn

from compressor.errors import UsageError
from compressor.training.rates import SCHEDULES, learning_rate_factor
from compressor.training.recipe import Recipe, pick_device


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epochs": 0}, "--epochs must be at least 1, got 0"),
        ({"batch_size": 1}, "--batch-size must be at least 2, got 1"),
        ({"optimizer": "lion"}, "--optimizer must be one of adamw, sgd, got 'lion'"),
        ({"precision": "8"}, "--precision must be one of auto, 32, bf16, 16, got '8'"),
        ({"lr": 0.0}, "--lr must be positive, got 0"),
        ({"lr": float("nan")}, "--lr must be positive, got nan"),
        ({"lr": float("inf")}, "--lr must be positive, got inf"),
        ({"lr": 2e38}, r"--lr must be at most 1e\+38 for sgd, got 2e\+38"),
        ({"lr": 1e38, "optimizer": "adamw"}, r"--lr must be at most 1e\+37 for adamw, got 1e\+38"),
        ({"seed": -1}, "--seed must be 0 or more, got -1"),
        ({"schedule": "linear"}, "--schedule must be one of cosine, one-cycle, step, constant, got 'linear'"),
        ({"accumulate": 0}, "--accumulate must be at least 1, got 0"),
        ({"clip": 0.0}, "--clip must be positive, got 0"),
        ({"clip": float("nan")}, "--clip must be positive, got nan"),
        ({"ema": 1.0}, "--ema must lie between 0 and 1, got 1"),
        ({"ema": float("nan")}, "--ema must lie between 0 and 1, got nan"),
        ({"teacher_share": 1.5}, "--teacher-share must lie between 0 and 1, got 1.5"),
    ],
)
def test_a_bad_choice_is_refused_with_its_value(options, message):
    with pytest.raises(UsageError, match=message):
        Recipe(**({"epochs": 1} | options))


@pytest.mark.parametrize(("optimizer", "rate"), [("sgd", 0.02), ("adamw", 0.001)])
def test_each_optimizer_has_its_own_learning_rate(optimizer, rate):
    assert Recipe(epochs=1, optimizer=optimizer).learning_rate == rate
    assert Recipe(epochs=1, optimizer=optimizer, lr=0.5).learning_rate == 0.5


@pytest.mark.parametrize(("samples", "steps"), [(100, 9), (64, 6), (32, 3), (5, 3)])
def test_steps_leave_out_the_short_batch(samples, steps):
    assert Recipe(epochs=3, batch_size=32).steps(samples) == steps


def test_the_rate_warms_up_in_equal_steps():
    assert [learning_rate_factor(step, 100) for step in range(5)] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])


def test_the_rate_then_falls_as_half_a_cosine_to_zero():
    after = [learning_rate_factor(step, 105) for step in range(5, 106)]
    assert after[0] == 1
    assert after[50] == pytest.approx(0.5)
    assert after[-1] == pytest.approx(0)
    assert all(later < earlier for earlier, later in pairwise(after))


def test_a_step_schedule_falls_twice():
    factors = [learning_rate_factor(step, 1000, "step") for step in (50, 524, 525, 762, 763, 999)]
    assert factors == pytest.approx([1, 1, 0.1, 0.1, 0.01, 0.01])


def test_one_cycle_rises_long_and_falls_to_zero():
    factors = [learning_rate_factor(step, 100, "one-cycle") for step in range(100)]
    assert factors[:30] == pytest.approx([(step + 1) / 30 for step in range(30)])
    assert factors[65] == pytest.approx(0.5)
    assert 0 < factors[-1] < 1e-3


def test_a_constant_schedule_only_rises():
    assert [learning_rate_factor(step, 40, "constant") for step in range(40)] == [0.5] + [1.0] * 39


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("total", [1, 2, 3, 50])
def test_no_schedule_leaves_zero_and_one(schedule, total):
    factors = [learning_rate_factor(step, total, schedule) for step in range(total)]
    assert all(0 < factor <= 1 for factor in factors)


@pytest.mark.parametrize("total", [1, 2, 3])
def test_even_the_shortest_training_moves(total):
    factors = [learning_rate_factor(step, total) for step in range(total)]
    assert factors[0] == 1
    assert min(factors) > 0


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_weight_decay_spares_biases_and_norms(optimizer):
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2))
    groups = Recipe(epochs=1, optimizer=optimizer, weight_decay=0.1).build_optimizer(model).param_groups
    decayed = {id(p) for group in groups if group["weight_decay"] for p in group["params"]}
    assert decayed == {id(model[0].weight)}


def test_frozen_parameters_are_not_trained():
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    model[0].requires_grad_(False)
    groups = Recipe(epochs=1).build_optimizer(model).param_groups
    assert sum(len(group["params"]) for group in groups) == 2


def test_a_network_that_is_all_frozen_is_refused():
    with pytest.raises(UsageError, match="the network has no trainable parameter: all are frozen"):
        Recipe(epochs=1).build_optimizer(nn.Linear(2, 2).requires_grad_(False))


def test_the_cpu_is_always_there():
    assert pick_device("cpu") == "cpu"


@pytest.mark.parametrize("text", ["tpu", "cpu:0", "cuda:", "cuda:-1", "cuda:x", "auto:1", ""])
def test_a_device_that_is_no_device_is_refused(text):
    with pytest.raises(UsageError, match="--device must be auto, cpu, cuda or cuda:INDEX, got"):
        pick_device(text)


def test_a_device_that_is_not_there_is_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert pick_device("cuda:1") == "cuda:1"
    with pytest.raises(UsageError, match="--device cuda:2 is not available: 2 CUDA devices are visible"):
        pick_device("cuda:2")


@pytest.mark.parametrize("available", [True, False])
def test_auto_takes_what_is_there(monkeypatch, available):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: available)
    assert pick_device("auto") == ("cuda:0" if available else "cpu")


def test_a_training_in_two_parts_has_the_learning_rates_of_one():
    whole = Recipe(epochs=6, batch_size=10)
    parts = Recipe(epochs=2, after=4, batch_size=10), Recipe(epochs=4, before=2, batch_size=10)
    rates = [part.rate(step, 7) for part in parts for step in range(part.steps(70))]
    assert rates == [whole.rate(step, 7) for step in range(whole.steps(70))]
    assert rates != [part.rate(step, 7) for part in (whole, whole) for step in range(21)]


@pytest.mark.parametrize("options", [{"before": -1}, {"after": -2}])
def test_epochs_of_the_other_parts_are_checked(options):
    with pytest.raises(UsageError, match="epochs before and after must be at least 0"):
        Recipe(epochs=1, **options)
