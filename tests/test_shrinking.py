from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

import compressor.shrinking
from compressor.equivalence import output_difference
from compressor.errors import CompressorWarning, EquivalenceError
from compressor.groups import find_groups, is_zero, zero
from compressor.groups.proposal import propose
from compressor.shrinking import remove_zero_channels, shrink
from compressor.surgery import remove

IMAGE = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def model():
    """Channels 1 and 4 of the first, 0 of the second convolution are zero; the norm's statistics are random."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(),
            nn.Conv2d(8, 6, 3, padding=1), nn.ReLU(),
            nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 4),
        ).eval()  # fmt: skip
        nn.init.normal_(net[1].running_mean)
        nn.init.uniform_(net[1].running_var, 0.5, 2)
        nn.init.normal_(net[1].bias)
    first, second = prunable(net)
    zero(net, first, torch.tensor([1, 4]))
    zero(net, second, torch.tensor([0]))
    return net


def prunable(net):
    return [group for group in find_groups(net, IMAGE) if group.prunable]


def test_the_small_network_has_the_same_outputs(model):
    assert (
        output_difference(copy.deepcopy(model).double(), shrink(model, IMAGE, align="1").double(), IMAGE.double())
        <= 1e-9
    )


def test_the_small_network_is_physically_smaller(model):
    small = shrink(model, IMAGE, align="1")
    assert [tuple(small[place].weight.shape) for place in (0, 1, 3, 7)] == [(6, 3, 3, 3), (6,), (5, 6, 3, 3), (4, 5)]


def test_the_figures_say_what_went(model):
    shrunk = remove_zero_channels(model, IMAGE, align="1")
    assert shrunk.channels == {"0": (8, 6), "3": (6, 5)}
    assert (shrunk.removal.channels_removed, shrunk.removal.channels_total) == (3, 14)
    assert shrunk.removal.inputs == "3 random batches"


def test_a_zero_network_is_shrunk_whatever_its_mode(model):
    model.train()
    small = shrink(model, IMAGE, align="1")
    model.eval()
    assert output_difference(model, small, IMAGE) <= 1e-5


def test_training_mode_moves_no_statistics(model):
    model.train()
    before = copy.deepcopy(model.state_dict())
    shrink(model, IMAGE, align="1")
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_the_model_itself_is_untouched(model):
    before, modes = copy.deepcopy(model.state_dict()), [module.training for module in model.modules()]
    shrink(model, IMAGE, align="1")
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert [module.training for module in model.modules()] == modes


def test_the_small_network_shares_no_memory_with_the_model(model):
    small = shrink(model, IMAGE, align="1")
    with torch.no_grad():
        small[7].bias.fill_(5.0)
    assert not (model[7].bias == 5.0).any()


def test_frozen_layers_stay_frozen(model):
    model[7].requires_grad_(False)
    small = shrink(model, IMAGE, align="1")
    assert {name for name, p in small.named_parameters() if not p.requires_grad} == {"7.weight", "7.bias"}


def test_the_small_network_can_be_trained_on(model):
    small = shrink(model, IMAGE, align="1").train()
    small(IMAGE).sum().backward()
    assert all(parameter.grad is not None for parameter in small.parameters())


def test_a_group_that_is_entirely_zero_keeps_one_channel(model):
    zero(model, prunable(model)[0], torch.arange(8))
    shrunk = remove_zero_channels(model, IMAGE, align="1")
    assert shrunk.channels["0"] == (8, 1)
    assert shrunk.removal.float64 <= 1e-9


def test_nothing_zero_means_nothing_removed():
    net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 4, 3))
    removal = remove_zero_channels(net, IMAGE, align="1").removal
    assert (removal.channels_removed, removal.float64, removal.float32) == (0, 0.0, 0.0)


def test_shrinking_a_network_without_zeros_says_so_and_returns_an_equal_copy():
    net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 4, 3))
    with pytest.warns(CompressorWarning, match="has no zero channel that can be removed, so an equal copy is returned"):
        small = shrink(net, IMAGE)
    assert small is not net
    assert all(torch.equal(one, other) for one, other in zip(small.parameters(), net.parameters(), strict=True))


def test_no_groups_are_no_reason_to_look_for_them(model, monkeypatch):
    monkeypatch.setattr(compressor.shrinking, "find_groups", lambda *args: 1 / 0)
    assert remove_zero_channels(model, IMAGE, groups=()).channels == {}


def test_a_channel_that_is_only_nearly_zero_stays(model):
    with torch.no_grad():
        model[0].weight[1, 0, 0, 0] = 1e-40
    assert remove_zero_channels(model, IMAGE, align="1").channels["0"] == (8, 7)


def test_shrinking_twice_removes_nothing_more(model):
    assert remove_zero_channels(shrink(model, IMAGE, align="1"), IMAGE, align="1").removal.channels_removed == 0


def test_excluded_groups_are_left_alone():
    net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Softmax(1), nn.Conv2d(8, 4, 3))
    zero(net, find_groups(net, IMAGE)[0], torch.arange(4))
    assert remove_zero_channels(net, IMAGE, align="1").channels == {}


def shifted(model, groups, channels, inputs):
    """Removes the channel beside each that was asked for."""
    return remove(
        model, groups, {name: [(place + 1) % 6 for place in found] for name, found in channels.items()}, inputs
    )


def test_removing_a_wrong_channel_is_refused(model, monkeypatch):
    groups = prunable(model)
    monkeypatch.setattr(compressor.shrinking, "remove", shifted)
    with pytest.raises(
        EquivalenceError, match=r"removing channels of 0 would change the outputs by .* nothing was written"
    ):
        remove_zero_channels(model, IMAGE, align="1", groups=groups)


def test_a_fault_that_only_real_inputs_show_is_found(monkeypatch):
    net = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2)).eval()
    with torch.no_grad():
        net[0].weight.fill_(0.001)
        # Only inputs far beyond a normal random one wake this channel.
        net[0].bias.copy_(torch.tensor([1.0, 1.0, 1.0, -1.0]))
    vector = torch.zeros(2, 3)
    monkeypatch.setattr(compressor.shrinking, "remove", lambda m, g, c, x: remove(m, g, {"0": [3]}, x))
    groups = [group for group in propose(net, vector).groups if group.prunable]
    assert remove_zero_channels(net, vector, align="1", groups=groups).removal.float64 == 0.0
    with pytest.raises(EquivalenceError, match="would change the outputs"):
        remove_zero_channels(net, vector, align="1", groups=groups, real_inputs=torch.full((1, 3), 1000.0))


def test_what_a_zero_channel_still_sends_goes_into_the_next_bias():
    net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Sigmoid(), nn.Conv2d(8, 4, 1, bias=False)).eval()
    zero(net, prunable(net)[0], torch.arange(4))
    small = shrink(net, IMAGE, align="1")
    torch.testing.assert_close(small[2].bias, 0.5 * net[2].weight[:, :4, 0, 0].sum(1))
    assert net[2].bias is None


def test_real_inputs_are_named_in_the_figures(model):
    removal = remove_zero_channels(model, IMAGE, align="1", real_inputs=IMAGE).removal
    assert removal.inputs == "3 random batches and 2 real samples"


def test_outputs_that_are_not_finite_prove_nothing(model):
    with torch.no_grad():
        model[7].bias[0] = float("nan")
    with pytest.raises(EquivalenceError, match="by inf of their scale"):
        shrink(model, IMAGE, align="1")


def test_zeros_survive_shrinking_of_other_groups(model):
    groups = prunable(model)
    small = remove_zero_channels(model, IMAGE, align="1", groups=groups[:1]).model
    assert is_zero(small, prunable(small)[1]).sum() == 1


@pytest.mark.parametrize(
    ("zeros", "align", "left"),
    [(3, "auto", 8), (4, "auto", 4), (6, "auto", 4), (8, "auto", 4), (3, "1", 5), (3, "3", 6)],
)
def test_zero_channels_that_fill_up_a_step_are_kept(zeros, align, left):
    net = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.ReLU(), torch.nn.Conv2d(8, 2, 3))
    (group,) = [found for found in find_groups(net, IMAGE) if found.prunable]
    zero(net, group, torch.arange(zeros))
    assert remove_zero_channels(net, IMAGE, align=align).channels == {"0": (8, left)}
