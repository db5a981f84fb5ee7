"""Faults that fresh weights hide, and parts that only training runs."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from compressor.groups import find_groups, zero
from compressor.groups.randomize import randomize
from compressor.shrinking import remove_zero_channels

IMAGE = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def conv(inputs, outputs):
    return nn.Conv2d(inputs, outputs, 3, padding=1)


class Scaled(nn.Module):
    """A residual branch behind ``depth`` scales, with an activation before zero padding: no channel of it can go."""

    def __init__(self, scale, depth):
        super().__init__()
        self.stem, self.inner, self.branch, self.head = conv(3, 4), conv(4, 8), conv(8, 4), conv(4, 2)
        self.scales = nn.ParameterList([torch.full((4, 1, 1), scale) for _ in range(depth)])

    def forward(self, x):
        x = self.stem(x)
        branch = self.branch(self.inner(x).sigmoid())
        for scale in self.scales:
            branch = scale * branch
        return self.head(x + branch)


@pytest.mark.parametrize(("scale", "depth"), [(1e-6, 1), (1e-6, 2), (0.0, 1)])
def test_a_wrong_group_behind_a_faint_scale_is_found(scale, depth):
    inner = next(group for group in find_groups(Scaled(scale, depth), IMAGE) if group.name == "inner")
    assert "sends 0.5 to branch, where zero padding" in inner.excluded


def test_a_wrong_group_behind_a_layer_that_starts_at_zero_is_found():
    model = nn.Sequential(conv(3, 8), nn.Sigmoid(), conv(8, 4))
    nn.init.zeros_(model[2].weight)
    assert not [group.name for group in find_groups(model, IMAGE) if group.prunable]


def test_the_scales_of_the_network_itself_stay():
    model = Scaled(1e-6, 1)
    find_groups(model, IMAGE)
    assert (model.scales[0] == 1e-6).all()


def test_weights_that_say_something_are_left_alone():
    model = nn.Sequential(conv(3, 8), nn.LayerNorm(8), nn.Linear(8, 1))
    before = [model[0].weight.clone(), model[2].weight.clone()]
    randomize(model, torch.Generator().manual_seed(0))
    assert all(torch.equal(one, other) for one, other in zip(before, [model[0].weight, model[2].weight], strict=True))


class Weak(nn.Module):
    """Weights so small that a signal would die on its way if BatchNorms did not know how small it gets."""

    def __init__(self):
        super().__init__()
        self.first, self.second = conv(3, 8), conv(8, 8)
        layers = [layer for _ in range(8) for layer in (nn.Conv2d(8, 8, 1, bias=False), nn.BatchNorm2d(8), nn.SiLU())]
        self.rest = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4))
        for layer in (self.first, self.second, *layers[::3]):
            nn.init.normal_(layer.weight, std=0.005, generator=torch.Generator().manual_seed(0))

    def forward(self, x):
        x = self.first(x)
        return self.rest(self.second(x / x.shape[1]))


def test_a_wrong_group_in_front_of_many_small_weights_is_found():
    found = {group.name: group.excluded for group in find_groups(Weak(), IMAGE)}
    assert "changes the output" in found["first"]
    assert found["second"] is None


class Auxiliary(nn.Module):
    """A second classifier that only training runs, as in GoogLeNet; ``width`` channels go into it."""

    def __init__(self, width=None, rate=0.0):
        super().__init__()
        self.inner, self.head, self.aux = conv(3, 8), conv(8, 4), conv(width or 8, 2)
        self._width, self._rate = width, rate

    def forward(self, x):
        x = torch.relu(self.inner(x))
        if not self.training:
            return self.head(x)
        x = nn.functional.dropout(x, self._rate)
        return self.head(x), self.aux(x[:, : self._width])


def halved(model):
    groups = find_groups(model, IMAGE)
    for group in groups:
        if group.prunable:
            zero(model, group, torch.arange(group.channels // 2))
    return remove_zero_channels(model, IMAGE, groups=groups, align=1).model


def test_an_auxiliary_classifier_shrinks_with_what_it_reads():
    small = halved(Auxiliary())
    assert (small.aux.in_channels, small.aux.out_channels) == (4, 2)


def test_a_halved_network_with_an_auxiliary_classifier_trains():
    model = Auxiliary()
    small = halved(model).train()
    expected, found = model.train()(IMAGE), small(IMAGE)
    assert all(torch.allclose(one, other, atol=1e-6) for one, other in zip(expected, found, strict=True))


def test_what_an_auxiliary_classifier_reads_by_a_fixed_width_stays():
    excluded = [group.excluded for group in find_groups(Auxiliary(width=5), IMAGE) if group.name == "inner"]
    assert "removing channels breaks the network" in excluded[0]


def test_a_random_road_of_training_is_not_compared():
    assert [group.name for group in find_groups(Auxiliary(rate=0.5), IMAGE) if group.prunable] == ["inner"]


class Finder(nn.Module):
    """Besides its maps it returns what it found, nothing mostly, as detection networks do."""

    def __init__(self):
        super().__init__()
        self.inner, self.head = conv(3, 8), conv(8, 4)

    def forward(self, x):
        maps = self.head(torch.relu(self.inner(x)))
        return maps, maps[maps > 1e6]


def test_an_output_may_be_empty():
    assert [group.name for group in find_groups(Finder(), IMAGE) if group.prunable] == ["inner"]
