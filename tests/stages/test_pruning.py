import copy
from dataclasses import replace

import pytest
import torch
from torch import nn

from compressor.checkpoints import load, save
from compressor.data import load_data
from compressor.data.samples import Samples
from compressor.equivalence import output_difference
from compressor.errors import TargetNotMet, UsageError
from compressor.splitting import SplittingConfig
from compressor.stages.prune import prune

HALF = SplittingConfig(target_macs=0.5, align=2)


@pytest.fixture(scope="module")
def network(tiny):
    return load(tiny.checkpoint, trust_arch=True)


@pytest.fixture(scope="module")
def data(tiny):
    return load_data(tiny.data, (1, 8, 8))


@pytest.fixture(scope="module")
def pruned(network, data):
    return prune(network, data, HALF, samples=128)


def test_it_is_smaller_and_close_to_the_dense_network(pruned, network):
    record = pruned.record
    assert record.macs[1] <= 0.5 * record.macs[0]
    assert record.targets[0].met
    assert record.fitted.change < 0.8 * record.removed.change
    assert record.fitted.agreement >= record.removed.agreement
    assert all(fit.after <= fit.before for fit in record.fits)
    assert [fit.layer for fit in record.fits] == ["0", "3", "8"]
    assert sum(p.numel() for p in pruned.network.model.parameters()) == record.parameters[1]


def test_the_dense_network_stays_as_it_is(network, data):
    before = copy.deepcopy(network.model.state_dict())
    prune(network, data, HALF, samples=16)
    after = network.model.state_dict()
    assert all(torch.equal(before[key], after[key]) for key in before)


def test_its_file_reloads_with_the_same_outputs(pruned, tmp_path):
    save(pruned.network, tmp_path / "small.pt")
    again = load(tmp_path / "small.pt", trust_arch=True)
    assert output_difference(pruned.network.model, again.model, torch.randn(4, 1, 8, 8)) == 0
    stage = again.metadata.history[-1]
    assert stage["stage"] == "prune"
    assert stage["target_macs"] == 0.5


def test_no_label_is_used(network, data, pruned):
    unlabelled = Samples(data.train.images, torch.zeros_like(data.train.labels))
    other = prune(network, replace(data, train=unlabelled), HALF, samples=128).network.model
    expected = pruned.network.model.state_dict()
    assert all(torch.equal(tensor, expected[key]) for key, tensor in other.state_dict().items())


def test_without_least_squares_only_batchnorm_is_repaired(network, data, pruned):
    plain = prune(network, data, HALF, samples=128, least_squares=False)
    assert plain.record.fits == ()
    assert plain.record.fitted == plain.record.removed == pruned.record.removed


def test_a_network_that_keeps_everything_stays_the_same(network, data):
    record = prune(network, data, SplittingConfig(target_macs=1.0), samples=128).record
    assert record.macs[0] == record.macs[1]
    assert record.fitted.agreement == 1
    assert max(fit.after for fit in record.fits) < 1e-9
    assert record.fitted.change < 1e-5


@pytest.mark.parametrize("saliency", ["weights", "random"])
def test_channels_can_be_chosen_otherwise(network, data, saliency):
    record = prune(network, data, HALF, samples=16, saliency=saliency).record
    assert record.targets[0].met


def test_a_target_out_of_reach_is_told(network, data):
    with pytest.raises(TargetNotMet, match="is the least that can be reached"):
        prune(network, data, SplittingConfig(target_macs=0.001))


@pytest.mark.parametrize(
    ("target", "samples", "told"),
    [(SplittingConfig(), 16, "prune needs a target"), (HALF, 1, "--samples must be at least 2, got 1")],
)
def test_wrong_usage_is_told_before_any_work(network, data, target, samples, told):
    with pytest.raises(UsageError, match=told):
        prune(network, data, target, samples=samples)


def test_what_an_untrained_saliency_needs_is_told(network, data):
    with pytest.raises(UsageError, match="taylor"):
        prune(network, data, HALF, saliency="taylor")


def test_computed_weights_become_plain_ones(network, data):
    normed = copy.deepcopy(network)
    nn.utils.parametrizations.weight_norm(normed.model[3])
    record = prune(normed, data, HALF, samples=64).record
    assert "3" in [fit.layer for fit in record.fits]
