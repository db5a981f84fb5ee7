from __future__ import annotations

import json
from dataclasses import replace
from unittest.mock import Mock, patch

import pytest
import torch
from test_states import DATA, network

from compressor.errors import UsageError
from compressor.stages.fine_tune import fine_tune
from compressor.training import compiling, precision, train
from compressor.training.gpu_math import fast_math
from compressor.training.precision import lower_precision, measured_precision
from compressor.training.recipe import Recipe
from compressor.training.states import States

RECIPE = Recipe(epochs=1, batch_size=16)
AUTO = replace(RECIPE, precision="auto")


class Clock:
    """Steps that take as long as they are told to."""

    def __init__(self, seconds):
        self.seconds, self.asked = seconds, []

    def __call__(self, model, data, recipe, normalization):
        self.asked.append(recipe.precision)
        return lambda: self.seconds[recipe.precision]


@pytest.mark.parametrize(("low", "chosen"), [(0.5, "bf16"), (0.9, "bf16"), (0.91, "32"), (1.0, "32"), (3.0, "32")])
def test_the_lower_precision_is_chosen_where_it_saves_a_tenth(low, chosen, monkeypatch):
    monkeypatch.setattr(precision, "_step", Clock({"32": 1.0, "bf16": low}))
    found = measured_precision(network().model, DATA, AUTO, None)
    assert (found.chosen, found.tried, found.ratio) == (chosen, "bf16", low)


def test_a_real_measurement_changes_neither_the_network_nor_anybodys_random_numbers():
    net, state = network(), torch.get_rng_state()
    before = {name: tensor.clone() for name, tensor in net.model.state_dict().items()}
    found = measured_precision(net.model, DATA, AUTO, None)
    assert found.chosen in {"32", "bf16"}
    assert found.ratio > 0
    assert torch.equal(state, torch.get_rng_state())
    assert all(torch.equal(before[name], tensor) for name, tensor in net.model.state_dict().items())
    assert not any(parameter.grad is not None for parameter in net.model.parameters())


def test_a_training_with_auto_is_that_with_what_it_chose_and_says_so(monkeypatch):
    monkeypatch.setattr(precision, "_step", Clock({"32": 1.0, "bf16": 0.5}))
    found, asked = fine_tune(network(), DATA, AUTO), fine_tune(network(), DATA, replace(RECIPE, precision="bf16"))
    assert str(found.record.precision) == "Computed in bf16: a step in bf16 takes 0.50 of the time of a step in 32."
    assert asked.record.precision is None
    for one, other in zip(found.network.model.parameters(), asked.network.model.parameters(), strict=True):
        assert torch.equal(one, other)
    assert found.network.metadata.history[-1]["precision"] == "bf16"


def test_a_training_that_goes_on_keeps_to_what_was_chosen(tmp_path, monkeypatch):
    clock = Clock({"32": 1.0, "bf16": 0.5})
    monkeypatch.setattr(precision, "_step", clock)
    recipe = replace(AUTO, epochs=3)
    whole = fine_tune(network(), DATA, recipe)

    def stop(epoch):
        if epoch.epoch == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), States(tmp_path / "x") as states:
        fine_tune(network(), DATA, recipe, states=states, on_epoch=stop)
    # Measured now, the other one would win.
    clock.seconds = {"32": 1.0, "bf16": 2.0}
    clock.asked.clear()
    with States(tmp_path / "x") as states:
        went_on = fine_tune(network(), DATA, recipe, states=states)
        assert json.loads((states.folder / "precision.json").read_text())["chosen"] == "bf16"
    assert not clock.asked
    for one, other in zip(whole.network.model.parameters(), went_on.network.model.parameters(), strict=True):
        assert torch.equal(one, other)


def test_gpus_that_only_emulate_bf16_are_asked_about_16_bits():
    with (
        patch.object(Recipe, "on", torch.device("cuda:0")),
        patch("torch.cuda.is_bf16_supported", lambda including_emulation: False),
    ):
        assert lower_precision(AUTO) == "16"
    assert lower_precision(AUTO) == "bf16"


def test_a_gpu_computes_fast_for_as_long_as_a_training_lasts():
    before = torch.get_float32_matmul_precision(), torch.backends.cudnn.benchmark
    with fast_math(torch.device("cuda")):
        assert (torch.get_float32_matmul_precision(), torch.backends.cudnn.benchmark) == ("high", True)
    assert (torch.get_float32_matmul_precision(), torch.backends.cudnn.benchmark) == before
    with fast_math(torch.device("cpu")):
        assert (torch.get_float32_matmul_precision(), torch.backends.cudnn.benchmark) == before


def trained(recipe):
    model = network().model
    train(model, DATA, recipe, normalization=None)
    return [parameter.detach().clone() for parameter in model.parameters()]


def test_a_compiled_network_trains_as_it_is(monkeypatch):
    monkeypatch.setattr(compiling, "BACKEND", "aot_eager")
    compiler = Mock(wraps=torch.compile)
    monkeypatch.setattr(torch, "compile", compiler)
    for one, other in zip(trained(RECIPE), trained(replace(RECIPE, compile=True)), strict=True):
        assert torch.equal(one, other)
    # Once more by Fabric, around its own wrapper.
    assert {call.kwargs["backend"] for call in compiler.call_args_list} == {"aot_eager"}


def test_the_zeros_of_a_compiled_network_stay(monkeypatch):
    monkeypatch.setattr(compiling, "BACKEND", "aot_eager")
    net = network()
    with torch.no_grad():
        net.model[0].weight[2] = 0
    found = fine_tune(net, DATA, replace(RECIPE, compile=True)).network.model
    assert not found[0].weight[2].any()
    assert found[0].weight[1].any()


def test_what_cannot_be_compiled_is_one_line(monkeypatch):
    def broken(graph, inputs):
        raise RuntimeError("no compiler\nsecond line")

    monkeypatch.setattr(compiling, "BACKEND", broken)
    with pytest.raises(UsageError, match=r"here \(RuntimeError: no compiler\); leave it out") as told:
        trained(replace(RECIPE, compile=True))
    assert "\n" not in str(told.value)


@pytest.mark.slow
def test_the_real_compiler_trains_to_the_same_within_rounding():
    for one, other in zip(trained(RECIPE), trained(replace(RECIPE, compile=True)), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4)
