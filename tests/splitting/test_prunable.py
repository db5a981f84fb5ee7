"""What the papers' methods leave: dead groups at 1e-5, and the channels that are useless because of them."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from compressor.architectures.cifar_resnet import resnet20
from compressor.architectures.lenet import lenet5
from compressor.costs import count_macs, count_parameters
from compressor.groups import find_groups, is_zero
from compressor.shrinking import shrink
from compressor.splitting import PaperSplitting, Splitting

# Most of these project without a training.
pytestmark = pytest.mark.filterwarnings("ignore::compressor.errors.CompressorWarning")

DIGIT = torch.randn(2, 1, 28, 28, generator=torch.Generator().manual_seed(0))


def lenet():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return lenet5().eval()


def splitting_for(model, example=DIGIT, **options):
    fixed = {"method": "paper", "total_steps": 1, "epoch_steps": 1, "samples": 1, "align": 1}
    return PaperSplitting(model, example, **(fixed | options))


@torch.no_grad()
def kill(weight, *place):
    weight[place] = 1e-6


def projected(model, **options):
    return splitting_for(model, **options).project().kept


EVERY = {"conv1": 20, "conv2": 50, "fc1": 500}


def test_a_dead_filter_can_be_removed():
    model = lenet()
    kill(model.conv2.weight, 7)
    assert projected(model) == EVERY | {"conv2": 49}


@pytest.mark.parametrize("layer", ["conv1", "conv2"])
def test_a_dead_filter_can_be_removed_whatever_the_memory_format(layer):
    model = lenet().to(memory_format=torch.channels_last)
    kill(model.get_submodule(layer).weight, 7)
    assert projected(model) == EVERY | {layer: EVERY[layer] - 1}


def test_an_input_unit_that_is_dead_makes_the_neuron_before_it_removable():
    model = lenet()
    kill(model.fc2.weight, slice(None), 5)
    assert projected(model) == EVERY | {"fc1": 499}


# conv2 sends 4x4 places of every channel to fc1.
UNITS_OF_CHANNEL_3 = slice(3 * 16, 4 * 16)


def test_dead_input_units_of_all_its_places_make_a_channel_removable():
    model = lenet()
    kill(model.fc1.weight, slice(None), UNITS_OF_CHANNEL_3)
    assert projected(model) == EVERY | {"conv2": 49}


def test_a_channel_that_is_read_at_one_place_stays():
    model = lenet()
    kill(model.fc1.weight, slice(None), slice(3 * 16, 4 * 16 - 1))
    assert projected(model) == EVERY


def test_what_only_a_useless_channel_reads_is_useless_too():
    model = lenet()
    with torch.no_grad():
        # Only neuron 5 reads channel 3, and nothing reads neuron 5.
        alone = model.fc1.weight[5, UNITS_OF_CHANNEL_3].clone()
        model.fc1.weight[:, UNITS_OF_CHANNEL_3] = 0
        model.fc1.weight[5, UNITS_OF_CHANNEL_3] = alone
    kill(model.fc2.weight, slice(None), 5)
    assert projected(model) == EVERY | {"fc1": 499, "conv2": 49}


def test_what_reads_zero_weights_of_v_is_useless():
    model = lenet()
    with torch.no_grad():
        model.fc2.weight[:, 5] *= 1e-2
    # Above 1e-5, but below the threshold sqrt(2 strength / beta) of 1e-3.
    assert projected(model, penalty="l0", strength=1e-6, beta=2.0) == EVERY | {"fc1": 499}


def test_removing_what_nothing_reads_changes_no_output():
    model = lenet()
    kill(model.fc1.weight, slice(None), UNITS_OF_CHANNEL_3)
    kill(model.fc2.weight, slice(None), 5)
    with torch.no_grad():
        model.fc1.weight[:, UNITS_OF_CHANNEL_3], model.fc2.weight[:, 5] = 0, 0
    expected = model(DIGIT).detach()
    splitting_for(model).project()
    torch.testing.assert_close(shrink(model, DIGIT, align=1)(DIGIT).detach(), expected)


def damaged():
    """A network with dead groups of every kind."""
    model = lenet()
    for filter_ in (0, 3, 19):
        kill(model.conv1.weight, filter_)
    kill(model.conv2.weight, slice(10, 21))
    kill(model.fc1.weight, slice(None), UNITS_OF_CHANNEL_3)
    kill(model.fc2.weight, slice(None), slice(100, 300))
    return model


@pytest.mark.parametrize("align", ["auto", 1, 3])
def test_the_figures_are_those_of_the_shrunk_network(align):
    model = damaged()
    projection = splitting_for(model, align=align).project()
    small = shrink(model, DIGIT, align=align)
    assert projection.macs == (count_macs(model, DIGIT), count_macs(small, DIGIT))
    assert projection.parameters == (count_parameters(model), count_parameters(small))
    assert {name: before for name, (before, _) in projection.channels.items()} == EVERY


def test_shrinking_leaves_the_outputs_of_the_projected_network():
    model = damaged()
    splitting_for(model).project()
    small = shrink(model, DIGIT, align=1)
    torch.testing.assert_close(small(DIGIT), model(DIGIT))
    assert (small.conv1.out_channels, small.conv2.out_channels, small.fc1.out_features) == (17, 38, 300)


def test_projecting_twice_changes_nothing():
    model = damaged()
    first = splitting_for(model).project()
    before = copy.deepcopy(model.state_dict())
    second = splitting_for(model).project()
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert second.kept == first.kept


def test_a_residual_stage_loses_only_what_none_of_its_layers_makes():
    model = resnet20().eval()
    example = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    groups = [group for group in find_groups(model, example) if group.prunable]
    stream = groups[0]
    makers = [member for member in stream.members if member.role == "producer"]
    for member in makers:
        kill(model.get_submodule(member.module).weight, int(member.index[2, 0]))
    # One of several is not enough.
    kill(model.get_submodule(makers[0].module).weight, int(makers[0].index[5, 0]))
    splitting_for(model, example).project()
    assert len(makers) > 5
    assert is_zero(model, stream).nonzero().flatten().tolist() == [2]
    assert not any(is_zero(model, group).any() for group in groups[1:])


def test_a_network_in_which_everything_is_dead_keeps_a_channel_of_each():
    model = lenet()
    with torch.no_grad():
        for module in (model.conv1, model.conv2):
            module.weight.zero_()
    splitting_for(model).project()
    assert shrink(model, DIGIT, align=1).conv1.out_channels == 1


def test_masking_alone_touches_no_dead_group():
    model = damaged()
    before = copy.deepcopy(model.state_dict())
    assert splitting_for(model).mask() == 0
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_masking_zeroes_where_v_is_and_leaves_the_rest_of_w():
    model = lenet()
    before = model.fc1.weight.detach().clone()
    splitting = splitting_for(model, penalty="l1", strength=0.02, beta=1.0)
    zeros = splitting.sparsity()["V"].weights
    count = splitting.mask()
    assert torch.equal(model.fc1.weight.detach(), torch.where(before.abs() > 0.02, before, 0))
    assert count == round(zeros * 430_500) > 0


def test_layers_that_are_not_penalised_keep_their_small_weights():
    model = lenet()
    kill(model.conv2.weight, 7)
    assert projected(model, layers=("fc*",)) == EVERY


def test_a_channel_whose_readers_are_penalised_alone_may_go():
    model = lenet()
    kill(model.fc1.weight, slice(None), UNITS_OF_CHANNEL_3)
    assert projected(model, layers=("fc1",)) == EVERY | {"conv2": 49}


def test_with_a_target_only_chosen_layers_lose_channels():
    model = lenet()
    splitting = Splitting(model, DIGIT, target_params=0.5, layers=("fc1",), total_steps=1, align=1)
    assert list(splitting.project().kept) == ["fc1"]


def test_a_network_without_removable_channels_has_no_costs():
    model, example = nn.Sequential(nn.Linear(5, 3)), torch.zeros(2, 5)
    projection = splitting_for(model, example, penalty="l0").project()
    assert (projection.kept, projection.macs, projection.parameters, projection.met) == ({}, None, None, True)
