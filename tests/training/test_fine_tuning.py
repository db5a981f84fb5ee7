from __future__ import annotations

import copy

import pytest
import torch
from quadrant_samples import samples
from torch import nn

from compressor.checkpoints import DataChoice, Metadata, Network
from compressor.costs import count_macs, count_parameters
from compressor.data.samples import Augmentation, DataSet
from compressor.errors import CompressorError, DataError, TargetNotMet, UnknownName, UsageError
from compressor.shrinking import shrink
from compressor.sources import Architecture
from compressor.splitting import SplittingConfig
from compressor.stages.fine_tune import check_target, fine_tune
from compressor.stages.samples import check_fit
from compressor.training.recipe import Recipe


def quadrants(**changes):
    parts = {"train": samples(96, 0), "val": samples(16, 1), "test": samples(64, 2)}
    fixed = {"ref": "npz:quadrants.npz", "classes": ("a", "b", "c", "d"), "normalization": None}
    split = {"augmentation": Augmentation(shift=1), "split_seed": 3, "val_fraction": 0.2}
    return DataSet(**(parts | fixed | split | changes))


DATA = quadrants()
RECIPE = Recipe(epochs=8, batch_size=16, lr=0.1, device="cpu")
HALF = SplittingConfig(penalty="l1-l2", target_macs=0.5)


def wrapped(model, shape=(1, 8, 8), **known):
    return Network(model, Metadata(architecture=Architecture("tiny"), input_shape=shape, **known))


def network(**known):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = nn.Sequential(
            nn.Conv2d(1, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU(),
            nn.Conv2d(8, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU(),
            nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(32, 4),
        )  # fmt: skip
    return wrapped(model, **known)


@pytest.fixture(scope="module")
def tuned():
    return fine_tune(network(), DATA, RECIPE, HALF)


def test_the_network_learns(tuned):
    assert tuned.record.trained.value > tuned.record.before.value + 0.3


def test_projection_costs_no_more_than_the_gap(tuned):
    assert tuned.record.projection.gap < 0.01
    assert tuned.record.projected.value == tuned.record.trained.value


def test_the_target_is_met(tuned):
    target = tuned.record.target
    assert target.met
    assert (target.kind, target.asked) == ("macs", 0.5)
    assert target.reached <= 0.5


def test_the_shrunk_network_costs_what_was_promised(tuned):
    example = tuned.network.example_input()
    small = shrink(tuned.network.model, example)
    assert count_macs(small, example) == tuned.record.projection.macs[1]
    assert count_parameters(small) == tuned.record.projection.parameters[1]


def test_costs_of_the_sparse_network_are_still_the_dense_ones(tuned):
    record = tuned.record
    assert (record.macs, record.parameters) == (record.projection.macs[0], record.projection.parameters[0])


def test_the_history_records_the_stage(tuned):
    (stage,) = tuned.network.metadata.history
    assert stage["stage"] == "fine-tune"
    assert (stage["epochs"], stage["lr"], stage["penalty"], stage["target_macs"]) == (8, 0.1, "l1-l2", 0.5)
    assert (stage["data"], stage["test_accuracy"]) == ("npz:quadrants.npz", tuned.record.final.value)
    assert (stage["gap"], stage["reached"]) == (tuned.record.projection.gap, tuned.record.target.reached)


def test_the_checkpoint_knows_its_data_and_classes(tuned):
    known = tuned.network.metadata
    assert known.data == DataChoice(ref="npz:quadrants.npz", split_seed=3, val_fraction=0.2)
    assert known.classes == ("a", "b", "c", "d")


def test_every_epoch_is_there(tuned):
    assert [epoch.epoch for epoch in tuned.record.epochs] == list(range(1, 9))


def test_the_same_seed_gives_the_same_bits(tuned):
    again = fine_tune(network(), DATA, RECIPE, HALF)
    pairs = zip(again.network.model.state_dict().values(), tuned.network.model.state_dict().values(), strict=True)
    assert all(torch.equal(one, other) for one, other in pairs)
    assert again.record.projection == tuned.record.projection


def short(**options):
    return Recipe(epochs=1, batch_size=16, lr=0.1, device="cpu", **options)


def test_the_network_that_was_given_stays_as_it_is():
    given = network()
    before = copy.deepcopy(given.model.state_dict())
    fine_tune(given, DATA, short(), HALF)
    assert all(torch.equal(tensor, before[name]) for name, tensor in given.model.state_dict().items())
    assert given.model.training


def test_the_global_random_stream_is_left_alone():
    before = torch.get_rng_state()
    fine_tune(network(), DATA, short(), SplittingConfig())
    assert torch.equal(torch.get_rng_state(), before)


def test_dropout_draws_from_the_seed():
    def once():
        given = network()
        given.model.insert(6, nn.Dropout(0.5))
        return fine_tune(given, DATA, short(), SplittingConfig()).network.model.state_dict()

    assert all(torch.equal(one, other) for one, other in zip(once().values(), once().values(), strict=True))


def test_without_penalties_nothing_is_projected():
    found = fine_tune(network(), DATA, short(), SplittingConfig())
    assert (found.record.projection, found.record.projected, found.record.target) == (None, None, None)
    assert found.record.final == found.record.trained
    assert "gap" not in found.network.metadata.history[0]


def test_known_classes_are_kept():
    found = fine_tune(network(classes=("w", "x", "y", "z")), DATA, short(), SplittingConfig())
    assert found.network.metadata.classes == ("w", "x", "y", "z")


@pytest.mark.parametrize("count", [129, 3])
def test_any_number_of_samples_can_reestimate_the_norms_of_an_mlp(count):
    """The batches of 128 would leave one sample, which BatchNorm1d refuses."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 4))
    found = fine_tune(wrapped(model), quadrants(train=samples(count, 0)), short(), SplittingConfig(target_params=0.6))
    assert found.network.model[2].running_var.isfinite().all()


def test_a_target_out_of_reach_is_told_before_any_training():
    epochs = []
    with pytest.raises(TargetNotMet, match="is the least that can be reached"):
        fine_tune(network(), DATA, RECIPE, SplittingConfig(target_macs=0.01), on_epoch=epochs.append)
    assert epochs == []


def test_check_target_tells_the_same_without_training():
    with pytest.raises(TargetNotMet, match="is the least that can be reached"):
        check_target(network(), SplittingConfig(target_macs=0.01))


def test_a_diverging_training_leaves_the_given_network_alone():
    given = network()
    before = copy.deepcopy(given.model.state_dict())
    with pytest.raises(CompressorError, match="training diverged 4 times"):
        fine_tune(given, DATA, Recipe(epochs=8, batch_size=16, lr=1e38, device="cpu"), SplittingConfig())
    assert all(torch.equal(tensor, before[name]) for name, tensor in given.model.state_dict().items())


def test_data_that_fit_pass():
    check_fit(network(), DATA)


def test_checking_the_fit_moves_no_statistics():
    given = network()
    given.model.train()
    check_fit(given, DATA)
    assert given.model[1].num_batches_tracked == 0
    assert given.model.training


def test_images_of_another_shape_are_refused():
    with pytest.raises(DataError, match=r"the network wants images of 3x8x8, npz:quadrants\.npz holds 1x8x8"):
        check_fit(wrapped(network().model, (3, 8, 8)), DATA)


def test_more_classes_than_the_network_tells_apart_are_refused():
    data = quadrants(classes=tuple("abcdef"))
    with pytest.raises(DataError, match=r"the network tells 4 classes apart, npz:quadrants\.npz has 6"):
        check_fit(network(), data)


@pytest.mark.parametrize("head", [nn.Conv2d(1, 4, 3), nn.LSTM(8, 4)], ids=["maps", "tuple"])
def test_a_network_that_is_no_classifier_is_refused(head):
    model = nn.Sequential(nn.Flatten(0, 1), head) if isinstance(head, nn.LSTM) else head
    with pytest.raises(DataError, match=r"does not return class scores \(images x classes\)"):
        check_fit(wrapped(model), DATA)


@pytest.mark.parametrize("model", [nn.Linear(3, 4), nn.BatchNorm3d(1)], ids=["runtime error", "value error"])
def test_an_input_shape_that_the_network_refuses_is_told(model):
    with pytest.raises(UsageError, match=r"the network does not accept an input of 1x8x8 \(--input-shape\): .+"):
        check_fit(wrapped(model), DATA)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"penalty": "l3"}, UnknownName, "no penalty is called 'l3'"),
        ({"target_macs": 0.5, "compressed": True}, UsageError, "--compressed needs a --target-size"),
        ({"target_macs": 0.0}, UsageError, r"--target-macs must lie in \(0, 1\]"),
        ({"target_params": 2.0}, UsageError, r"--target-params must lie in \(0, 1\]"),
        ({"penalty": "l1", "strength": -1.0}, UsageError, "--strength must be a finite number of at least 0, got -1"),
        ({"strength": 0.1}, UsageError, "--strength 0.1 needs a --penalty"),
        ({"align": "many"}, UsageError, "--align must be auto, auto:BLOCK or a number"),
    ],
)
def test_bad_penalties_are_refused_when_they_are_named(options, error, message):
    with pytest.raises(error, match=message):
        SplittingConfig(**options)


@pytest.mark.parametrize(
    ("options", "any_"),
    [({}, False), ({"penalty": "l1"}, True), ({"target_macs": 0.5}, True), ({"target_params": 1.0}, True)],
)
def test_penalties_know_whether_there_is_one(options, any_):
    assert SplittingConfig(**options).any is any_
