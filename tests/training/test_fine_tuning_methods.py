"""The papers' methods through the fine-tuning stage."""

from __future__ import annotations

import msgspec
import pytest
import torch
from torch import nn

from compressor.checkpoints import Metadata, Network, load, save
from compressor.costs import count_macs
from compressor.data.samples import Augmentation, DataSet, Samples
from compressor.errors import UsageError
from compressor.shrinking import remove_zero_channels
from compressor.sources import Architecture
from compressor.splitting import SplittingConfig
from compressor.stages.fine_tune import fine_tune
from compressor.training.recipe import Recipe

RECIPE = Recipe(epochs=3, batch_size=16, lr=0.05, device="cpu")
METHODS = {
    "paper": {"penalty": "l1-l2", "strength": 0.2, "beta": (1.0, 1.0), "growth": (1.5, 2)},
    "rvsm": {"penalty": "scad", "penalty_args": {"a": 2.5}, "strength": 0.1, "beta": (1.0, 1.0)},
    "rgsm": {"group_penalty": "transformed-l1", "group_penalty_args": {"a": 0.5}, "strength": 0.1},
}
every_method = pytest.mark.parametrize("name", METHODS)


def quadrants(count, seed):
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % 4
    images = torch.randint(0, 90, (count, 1, 28, 28), generator=generator, dtype=torch.uint8)
    for image, label in zip(images, labels.tolist(), strict=True):
        top, left = 14 * (label // 2), 14 * (label % 2)
        image[:, top : top + 14, left : left + 14] += 120
    return Samples(images, labels)


DATA = DataSet(
    ref="npz:quadrants.npz",
    train=quadrants(80, 0),
    val=quadrants(8, 1),
    test=quadrants(16, 2),
    classes=tuple("abcdefghij"),
    normalization=None,
    augmentation=Augmentation(),
    split_seed=0,
    val_fraction=0.1,
)


def network():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        architecture = Architecture("lenet5")
        return Network(architecture.build(), Metadata(architecture=architecture, input_shape=(1, 28, 28)))


def penalties(name):
    return SplittingConfig(method=name, **METHODS[name])


@pytest.fixture(scope="module")
def tuned():
    """The outcome of every method."""
    return {name: fine_tune(network(), DATA, RECIPE, penalties(name)) for name in METHODS}


def exact_zeros(model):
    weights = [module.weight for module in model.modules() if isinstance(module, nn.Conv2d | nn.Linear)]
    return sum(int((weight == 0).sum()) for weight in weights) / sum(weight.numel() for weight in weights)


@every_method
def test_the_figures_of_w_and_v_are_recorded(tuned, name):
    found = tuned[name].record.projection.sparsity
    assert list(found) == ["W at 1e-05", "V"]
    assert tuned[name].network.metadata.history[-1]["sparsity"] == msgspec.to_builtins(found)


@every_method
def test_there_is_no_target_that_could_be_missed(tuned, name):
    assert tuned[name].record.target is None
    assert tuned[name].network.metadata.history[-1]["reached"] is None


@pytest.mark.parametrize("name", ["paper", "rvsm"])
def test_the_weights_that_are_zero_in_the_end_are_at_least_those_of_v(tuned, name):
    assert exact_zeros(tuned[name].network.model) >= tuned[name].record.projection.sparsity["V"].weights > 0.1


def test_projection_does_not_change_what_has_taken_over(tuned):
    outcome = tuned["rvsm"]
    projection = outcome.record.projection
    assert projection.entries_zeroed == 0
    assert projection.sparsity["V"].weights == pytest.approx(exact_zeros(outcome.network.model), abs=1e-3)


@every_method
def test_the_result_can_be_shrunk(tuned, name):
    example = network().example_input()
    small = remove_zero_channels(tuned[name].network.model, example).model
    assert count_macs(small, example) == tuned[name].record.projection.macs[1]


@every_method
def test_the_settings_are_read_back_from_the_file(tuned, name):
    save(tuned[name].network, "tuned.pt")
    stage = load("tuned.pt").metadata.history[-1]
    known = penalties(name)
    for key, value in vars(known).items():
        assert stage[key] == (list(value) if isinstance(value, tuple) else value)


def test_settings_read_back_are_settings_again(tuned):
    save(tuned["paper"].network, "tuned.pt")
    stage = load("tuned.pt").metadata.history[-1]
    again = SplittingConfig(**{key: stage[key] for key in SplittingConfig.__dataclass_fields__})
    assert (again.growth, again.penalty_args, again.strength) == ([1.5, 2], {}, 0.2)


def test_beta_grows_by_epochs_of_the_recipe(tuned):
    assert [epoch.beta for epoch in tuned["paper"].record.epochs] == pytest.approx([1.0, 1.5, 1.5])


def test_layers_that_do_not_exist_are_told_before_any_training():
    epochs = []
    chosen = SplittingConfig(method="rvsm", layers=("fc3",))
    with pytest.raises(UsageError, match=r"no trainable .* layer is called 'fc3'\. Did you mean 'fc2'\?"):
        fine_tune(network(), DATA, RECIPE, chosen, on_epoch=epochs.append)
    assert epochs == []
