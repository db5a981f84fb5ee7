from __future__ import annotations

import pytest
import torch
from torch import nn

from compressor.groups import find_groups, is_zero, zero
from compressor.training.zeros import keep_zeros

IMAGE = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def network(*middle):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), *middle, nn.Conv2d(8, 4, 3))


def train(model, kind=torch.optim.SGD, **options):
    optimizer = kind(model.parameters(), **({"lr": 0.1} | options))
    handle = keep_zeros(model, optimizer)
    for _ in range(5):
        optimizer.zero_grad()
        # Every parameter gets a gradient, as from a loss that would revive the dead.
        for parameter in model.parameters():
            parameter.grad = torch.ones_like(parameter)
        optimizer.step()
    return optimizer, handle


@pytest.mark.parametrize(
    ("kind", "options"),
    [(torch.optim.SGD, {"momentum": 0.9, "nesterov": True}), (torch.optim.AdamW, {"lr": 0.01, "weight_decay": 0.1})],
)
def test_dead_channels_stay_dead(kind, options):
    model = network()
    group = find_groups(model, IMAGE)[0]
    zero(model, group, torch.tensor([1, 6]))
    train(model, kind, **options)
    assert is_zero(model, group).nonzero().flatten().tolist() == [1, 6]


def test_dead_channels_of_a_transposed_convolution_stay_dead():
    model = network(nn.ConvTranspose2d(8, 8, 2, 2), nn.ReLU())
    group = next(
        g for g in find_groups(model, IMAGE) if any(m.role == "producer" and m.module == "3" for m in g.members)
    )
    zero(model, group, torch.tensor([2]))
    train(model)
    assert is_zero(model, group).nonzero().flatten().tolist() == [2]


def test_biases_of_living_transposed_channels_move():
    model = network(nn.ConvTranspose2d(8, 8, 2, 2), nn.ReLU())
    with torch.no_grad():
        model[3].bias.zero_()
        model[3].weight[5] = 0  # an input, not an output
    train(model)
    assert (model[3].bias != 0).all()


def test_single_zero_weights_stay_zero():
    model = network()
    with torch.no_grad():
        model[0].weight[0, 0, 0, 0] = 0
    train(model)
    assert model[0].weight[0, 0, 0, 0] == 0


def test_all_other_weights_move():
    model = network()
    zero(model, find_groups(model, IMAGE)[0], torch.tensor([3]))
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    train(model)
    moved = {name: p.detach() != before[name] for name, p in model.named_parameters()}
    living = torch.arange(8) != 3
    assert moved["0.weight"][living].all()
    assert moved["1.bias"].tolist() == living.tolist()
    assert moved["3.weight"].all()


def test_a_fresh_bias_of_zero_on_a_living_channel_moves():
    model = network()
    with torch.no_grad():
        model[0].bias.zero_()
    train(model)
    assert (model[0].bias != 0).all()


@pytest.mark.parametrize("place", [1, 3])
def test_a_layer_that_starts_at_zero_is_trained(place):
    model = network()
    nn.init.zeros_(model[place].weight)
    nn.init.zeros_(model[place].bias)
    train(model)
    assert (model[place].weight != 0).all()
    assert (model[place].bias != 0).all()


def test_a_norm_without_a_bias_or_scale_is_no_obstacle():
    model = network()
    model[1] = nn.BatchNorm2d(8, affine=False)
    train(model)
    assert (model[0].weight != 0).all()


def test_a_removed_handle_frees_the_zeros():
    model = network()
    zero(model, find_groups(model, IMAGE)[0], torch.tensor([3]))
    optimizer, handle = train(model)
    handle.remove()
    optimizer.step()
    assert (model[0].weight[3] != 0).all()


def test_dead_units_of_a_recurrent_layer_and_dead_channels_of_an_embedding_stay_dead():
    class Reader(nn.Module):
        def __init__(self):
            super().__init__()
            self.words, self.recurrent, self.head = nn.Embedding(9, 8), nn.LSTM(8, 6), nn.Linear(6, 4)

        def forward(self, x):
            return self.head(self.recurrent(self.words(x))[0])

    model = Reader()
    groups = [group for group in find_groups(model, torch.arange(6).view(2, 3)) if group.prunable]
    for group in groups:
        zero(model, group, torch.tensor([2, 5]))
    train(model)
    assert [is_zero(model, group).nonzero().flatten().tolist() for group in groups] == [[2, 5], [2, 5]]


class Matrix(nn.Module):
    def __init__(self):
        super().__init__()
        self.matrix, self.free = nn.Parameter(torch.randn(8, 4)), nn.Parameter(torch.zeros(1, 4))

    def forward(self, x):
        return x.mean((2, 3)) @ self.matrix + self.free


def test_zeros_of_parameters_without_a_layer_stay_zero():
    model = nn.Sequential(*list(network())[:3], Matrix())
    with torch.no_grad():
        model[3].matrix[2] = 0
    train(model)
    assert (model[3].matrix == 0).all(1).nonzero().flatten().tolist() == [2]
    assert (model[3].free != 0).all()
