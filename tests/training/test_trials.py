"""What is tried before a training decides which channels stay, and is kept."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from test_states import DATA, network, recipe
from torch.nn import functional as F

from compressor.errors import UsageError
from compressor.records.costs import Aims
from compressor.splitting import Splitting, SplittingConfig, build_splitting
from compressor.splitting.spreading import Spread
from compressor.stages import trials
from compressor.stages.fine_tune import fine_tune
from compressor.stages.samples import varied_batches
from compressor.stages.trials import (
    Trials,
    samples_for,
    seconds_of_settling,
    settle,
    tried,
    without,
)


def splitting_of(net, **options):
    config = SplittingConfig(**({"target_macs": 0.5, "align": 1} | options))
    return build_splitting(net.model, net.example_input(), config, total_steps=16, epoch_steps=4, samples=64)


def images_of(net, count):
    ((images, _),) = varied_batches(net, DATA, count, 0).split(count)
    return images


def trials_of(net, splitting):
    images = images_of(net, 48)
    return Trials(net, splitting.groups, images, 1)


def nothing_of(splitting):
    return [torch.zeros(group.channels, dtype=torch.bool) for group in splitting.groups]


def test_the_dense_network_loses_nothing():
    net = network()
    splitting = splitting_of(net)
    assert trials_of(net, splitting).loss(nothing_of(splitting)) == pytest.approx(0, abs=1e-7)


def test_the_loss_is_the_divergence_after_least_squares():
    net = network()
    splitting = splitting_of(net)
    gone = nothing_of(splitting)
    gone[0][:3] = True
    tries = trials_of(net, splitting)
    found = tries.loss(gone)
    bare = without(net.model, splitting.groups, gone, net.example_input(), 1).model.eval()
    images = images_of(net, 48)[16:]
    with torch.no_grad():
        given, wanted = bare(images).log_softmax(1), net.model.eval()(images).log_softmax(1)
    unfitted = float(F.kl_div(given, wanted, reduction="batchmean", log_target=True))
    assert 0 < found < unfitted


def test_trying_leaves_the_network_as_it_is():
    net = network()
    before = copy.deepcopy(net.model.state_dict())
    settle(splitting_of(net), net, DATA, 3, 0)
    assert all(torch.equal(before[name], value) for name, value in net.model.state_dict().items())


def test_what_was_found_binds_whatever_the_training_says():
    net = network()
    splitting = splitting_of(net)
    settle(splitting, net, DATA, 8, 0)
    assert splitting.spread is not None
    splitting.step = splitting.schedule.total_steps
    splitting.revise()
    kept = list(splitting.kept)
    with torch.no_grad():
        for parameter in net.model.parameters():
            parameter.uniform_()
    splitting.revise()
    assert splitting.kept == kept


def test_without_trials_nothing_is_tried():
    net = network()
    splitting = splitting_of(net)
    settle(splitting, net, DATA, 0, 0)
    assert splitting.spread is None
    assert not splitting._selection.saliency.ready


@pytest.mark.parametrize("saliency", ["taylor", "fisher", "weights"])
def test_it_never_chooses_what_loses_more_than_the_saliency_alone(saliency):
    net = network()
    splitting = splitting_of(net, saliency=saliency)
    settle(splitting, net, DATA, 12, 0)
    assert splitting.spread.loss <= splitting.spread.first
    assert 1 <= splitting.spread.tried <= 12


def test_the_record_says_what_was_tried():
    record = fine_tune(network(), DATA, recipe(epochs=1), SplittingConfig(target_macs=0.5, align=1, trials=5)).record
    assert 1 <= record.trials.networks <= 5
    assert record.trials.best <= record.trials.first
    assert record.projection.gap == 0
    alone = fine_tune(network(), DATA, recipe(epochs=1), SplittingConfig(target_macs=0.5, align=1, trials=0)).record
    assert alone.trials is None


@pytest.mark.parametrize("shown", [(math.inf, math.inf, None), (math.inf, 0.5, "the first are no numbers"),
                                    (0.7, 0.5, "diverge by 0.5, those of the first by 0.7.")])  # fmt: skip
def test_what_is_recorded_are_numbers(shown):
    first, loss, text = shown
    record = tried(Spread(scores=[], first=first, loss=loss, tried=3))
    assert (record is None) == (text is None)
    assert record is None or text in str(record)


def test_a_state_of_other_groups_is_refused():
    net = network()
    splitting = splitting_of(net)
    settle(splitting, net, DATA, 2, 0)
    state = splitting.state_dict()
    scores, *others = state["spread"]
    state["spread"] = ([scores[0][:-1], *scores[1:]], *others)
    with pytest.raises(UsageError, match="it has other groups of channels"):
        splitting_of(net).load_state_dict(state)


def test_the_user_of_the_library_brings_a_loss_of_his_own():
    net = network()
    splitting = Splitting(net.model, net.example_input(), total_steps=8, target_macs=0.5, align=1)
    seen = []

    def loss(dropped):
        seen.append([int(gone.sum()) for gone in dropped])
        return float(dropped[0].sum())

    splitting.settle(loss, 10)
    assert 1 <= len(seen) <= 10
    assert splitting.spread.loss == min(gone[0] for gone in seen)


@pytest.mark.parametrize("options", [{"trials": -1, "target_macs": 0.5}, {"trials": 3}], ids=str)
def test_trials_that_mean_nothing_are_refused(options):
    with pytest.raises(UsageError, match="--trials"):
        SplittingConfig(**options)


def test_how_long_it_takes_grows_with_the_trials():
    net = network()
    groups = splitting_of(net).groups
    seconds = [
        seconds_of_settling(net, DATA, SplittingConfig(target_macs=0.5, align=1, trials=n), groups, Aims(), 0)
        for n in (2, 1000)
    ]
    assert 0 < seconds[0] < seconds[1]


@pytest.mark.parametrize(("macs", "samples"), [(1_000, 768), (41_000_000, 768), (86_000_000, 383), (4_000_000_000, 96)])
def test_dear_networks_are_tried_on_fewer_samples(macs, samples, monkeypatch):
    monkeypatch.setattr(trials, "count_macs", lambda *known: macs)
    assert samples_for(network()) == samples


@pytest.mark.parametrize("count", [2, 3, 7])
def test_a_few_samples_are_enough_to_run(count):
    net = network()
    splitting = splitting_of(net)
    images = images_of(net, count)
    gone = nothing_of(splitting)
    gone[0][0] = True
    # Least squares can fit so few of them exactly.
    assert 0 <= round(Trials(net, splitting.groups, images, 1).loss(gone), 7) < 1
