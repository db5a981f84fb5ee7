import copy

import pytest
import torch
from torch import nn

from compressor.equivalence import output_difference
from compressor.errors import UsageError
from compressor.groups import find_groups
from compressor.limits import memory_limit
from compressor.reconstruction import Fit, reconstruct
from compressor.surgery import remove

EXACT = Fit(ridge=1e-10)


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.last = nn.Linear(8, 3)

    def forward(self, x):
        return self.last(self.attention(x, x, x, need_weights=False)[0])


class Encoder(nn.Module):
    """Attention, norms over channels, residual streams, and a layer that runs twice."""

    def __init__(self):
        super().__init__()
        self.first = nn.Linear(6, 16)
        self.encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(16, 4, 32, batch_first=True), 1)
        self.twice, self.last = nn.Linear(16, 16), nn.Linear(16, 3)

    def forward(self, x):
        x = self.encoder(self.first(x))
        return self.last(torch.relu(self.twice(torch.relu(self.twice(x)))))


class Shared(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.one, self.other = nn.Linear(5, 6), nn.Linear(6, 3), nn.Linear(6, 3)
        self.other.weight = self.one.weight

    def forward(self, x):
        x = self.first(x)
        return self.one(x) + self.other(2 * x)


def between(producer, reader):
    return nn.Sequential(producer, nn.Identity(), reader)


NETWORKS = {
    "convolution": (between(nn.Conv2d(2, 6, 3), nn.Conv2d(6, 4, 3, padding=1, bias=False)), (2, 8, 8)),
    "strided and reflected": (
        between(nn.Conv2d(2, 6, 3), nn.Conv2d(6, 4, 3, stride=2, padding=1, padding_mode="reflect")),
        (2, 8, 8),
    ),
    "grouped": (nn.Sequential(nn.Conv2d(2, 6, 3), nn.Conv2d(6, 6, 3, groups=3), nn.Conv2d(6, 3, 1)), (2, 8, 8)),
    "BatchNorm behind": (
        nn.Sequential(nn.Conv2d(2, 6, 3), nn.Conv2d(6, 4, 3, bias=False), nn.BatchNorm2d(4), nn.ReLU()),
        (2, 8, 8),
    ),
    "linear": (between(nn.Linear(5, 6), nn.Linear(6, 3)), (5,)),
    "linear on tokens": (between(nn.Linear(5, 6), nn.Linear(6, 3, bias=False)), (7, 5)),
    "flattened": (nn.Sequential(nn.Conv2d(2, 6, 3), nn.Flatten(), nn.Linear(6 * 9, 3)), (2, 5, 5)),
    "attention": (Attention(), (5, 8)),
}


def parts(name, *, redundant):
    """The dense network in float64, images, its groups, and one channel of the first group that something reads."""
    torch.manual_seed(0)
    network, shape = copy.deepcopy(NETWORKS[name][0]).eval().double(), NETWORKS[name][1]
    images = torch.randn(256, *shape, dtype=torch.float64)
    groups = find_groups(network, images[:2])
    read = [g for g in groups if g.prunable and any(m.role == "consumer" for m in g.members)]
    group = next((g for g in read if "out_proj" in str([m.module for m in g.members])), read[0])
    if redundant:
        made_redundant(network, group)
    return network, images, groups, {group.name: [group.channels - 1]}


@torch.no_grad()
def made_redundant(network, group):
    """The last channel becomes a linear combination of the two before it."""
    for member in group.members:
        if member.role == "producer":
            last, one, two = member.index[-1], member.index[0], member.index[1]
            module = network.get_submodule(member.module)
            for tensor, axis in member.tensors:
                weight = getattr(module, tensor)
                assert axis == 0
                if getattr(module, "groups", 1) > 1:
                    # What is the same in every group keeps the combination that it reads.
                    weight[one] = weight[two] = weight[last] * (1 if tensor == "weight" else 0)
                    weight[last] = weight[one]
                else:
                    weight[last] = weight[one] - 2 * weight[two]


@pytest.mark.parametrize("name", NETWORKS)
def test_what_is_redundant_is_made_up_for(name):
    network, images, groups, gone = parts(name, redundant=True)
    small = remove(network, groups, gone, images[:2]).double()
    without = output_difference(network, small, images)
    small = copy.deepcopy(small)
    fits, left = reconstruct(copy.deepcopy(network), small, groups, gone, images, EXACT)
    assert not left
    assert all(fit.after <= 1e-9 for fit in fits)
    assert max(fit.before for fit in fits) > 1e-3
    assert without > 1e-2
    assert output_difference(network, small, images) < 1e-6


@pytest.mark.parametrize("limit", [2**30, 2**17])
@pytest.mark.parametrize("name", NETWORKS)
def test_without_removal_nothing_changes(name, limit):
    """In one pass, and in one for each layer."""
    network, images, groups, _ = parts(name, redundant=False)
    same = copy.deepcopy(network)
    with memory_limit(limit):
        fits, left = reconstruct(copy.deepcopy(network), same, groups, {}, images)
    assert fits
    assert not left
    weights = dict(network.named_parameters())
    weights |= dict(network.named_buffers())
    for key, weight in [*same.named_parameters(), *same.named_buffers()]:
        torch.testing.assert_close(weight, weights[key], rtol=1e-7, atol=1e-7)


def test_batches_and_all_images_at_once_find_the_same():
    found = []
    for limit in (2**30, 2**17):
        network, images, groups, gone = parts("convolution", redundant=False)
        small = copy.deepcopy(remove(network, groups, gone, images[:2]))
        with memory_limit(limit):
            reconstruct(network, small, groups, gone, images)
        found.append(small)
    assert output_difference(found[0], found[1], images) < 1e-9


def test_a_norm_in_front_of_layers_follows_its_inputs():
    """As in networks that normalise first: its statistics belong to no layer."""
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(2, 6, 3), nn.ReLU(), nn.Conv2d(6, 8, 3), nn.AvgPool2d(2), nn.BatchNorm2d(8), nn.Conv2d(8, 3, 1)
    )
    images = torch.randn(400, 2, 9, 9)
    network(images)
    network.eval()
    groups = find_groups(network, images[:2])
    group = next(g for g in groups if g.prunable and "0" in [m.module for m in g.members])
    for limit in (2**30, 2**18):
        small = copy.deepcopy(remove(network, groups, {group.name: [0, 1, 2]}, images[:2]))
        with memory_limit(limit):
            reconstruct(copy.deepcopy(network), small, groups, {group.name: [0, 1, 2]}, images)
        with torch.no_grad():
            given, before = small[:4](images), network[:4](images)
        variance = network[4].running_var * given.var((0, 2, 3)) / before.var((0, 2, 3))
        torch.testing.assert_close(small[4].running_var, variance, rtol=1e-3, atol=1e-4)
        assert not torch.allclose(small[4].running_var, network[4].running_var, rtol=1e-2)


def test_every_layer_behind_is_fitted_to_what_it_gets_by_then():
    """A chain: the second layer cannot make up for all, and the third one gets what that leaves."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 8)).eval()
    images = torch.randn(500, 6)
    groups = find_groups(network, images[:2])
    gone = {groups[0].name: [0, 1]}
    small = copy.deepcopy(remove(network, groups, gone, images[:2]))
    unfitted = copy.deepcopy(small)
    fits, _ = reconstruct(copy.deepcopy(network), small, groups, gone, images)
    assert [fit.layer for fit in fits] == ["0", "2", "4"]
    assert all(fit.after < fit.before for fit in fits[1:])
    errors = [float((network(images) - one(images)).square().mean().detach()) for one in (unfitted, small)]
    assert errors[1] < 0.5 * errors[0]


def test_an_encoder_without_a_quarter_of_everything():
    torch.manual_seed(0)
    network, images = Encoder().eval(), torch.randn(300, 5, 6)
    groups = find_groups(network, images[:2])
    gone = {group.name: range(group.channels // 4) for group in groups if group.prunable}
    small = copy.deepcopy(remove(network, groups, gone, images[:2]))
    with torch.no_grad():
        unfitted = (small(images) - network(images)).norm()
        fits, left = reconstruct(copy.deepcopy(network), small, groups, gone, images)
        assert (small(images) - network(images)).norm() < 0.6 * unfitted
    assert "twice" in [fit.layer for fit in fits]
    assert "encoder.layers.0.self_attn.out_proj" in [fit.layer for fit in fits]
    assert left == {"encoder.layers.0.self_attn": "SlimAttention is no convolution or linear layer"}


def test_a_layer_that_shares_its_weights_is_left_with_a_reason():
    network, images = Shared().eval(), torch.randn(64, 5)
    groups = find_groups(network, images[:2])
    gone = {group.name: [0] for group in groups if group.prunable}
    assert gone
    small = copy.deepcopy(remove(network, groups, gone, images[:2]))
    _, left = reconstruct(copy.deepcopy(network), small, groups, gone, images)
    assert set(left.values()) == {"it shares its weights with another layer"}


def test_a_layer_that_reads_too_much_is_left_with_a_reason():
    network, images, groups, gone = parts("flattened", redundant=True)
    small = copy.deepcopy(remove(network, groups, gone, images[:2]))
    with memory_limit(2**16):
        _, left = reconstruct(network, small, groups, gone, images)
    assert left == {"2": "it reads 45 numbers at once, which takes 0.0 GiB; --max-memory allows more"}


def test_a_transposed_convolution_is_left_with_a_reason():
    torch.manual_seed(0)
    network, images = nn.Sequential(nn.Conv2d(2, 6, 3), nn.ReLU(), nn.ConvTranspose2d(6, 3, 2)), torch.randn(8, 2, 6, 6)
    groups = find_groups(network, images[:2])
    gone = {groups[0].name: [0]}
    small = copy.deepcopy(remove(network, groups, gone, images[:2]))
    before = copy.deepcopy(small[2].weight)
    _, left = reconstruct(network, small, groups, gone, images)
    assert left == {"2": "ConvTranspose2d is no convolution or linear layer"}
    assert torch.equal(before, small[2].weight)


def test_a_layer_whose_code_differs_is_left_with_a_reason():
    class Doubled(nn.Linear):
        def forward(self, x):
            return 2 * super().forward(x)

    network, images = nn.Sequential(nn.Linear(5, 6), Doubled(6, 3)).eval(), torch.randn(16, 5)
    groups = find_groups(network, images[:2])
    gone = {groups[0].name: [0]}
    small = copy.deepcopy(remove(network, groups, gone, images[:2]))
    _, left = reconstruct(network, small, groups, gone, images)
    assert left == {"1": "its code does something else than its weights say"}


@pytest.mark.parametrize(("wrong", "told"), [({"ridge": 0.0}, "positive number, got 0"), ({"rows": 0}, "at least 1")])
def test_settings_without_meaning_are_refused(wrong, told):
    with pytest.raises(UsageError, match=told):
        Fit(**wrong)
