"""The optimiser goes on with the smaller network as if the zero channels had stayed, and stayed zero."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from compressor import shrink
from compressor.errors import UsageError
from compressor.groups import find_groups, zero
from compressor.training.zeros import keep_zeros

IMAGES = torch.randn(6, 3, 8, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
LABELS = torch.tensor([0, 1, 2, 3, 0, 1])
OPTIMIZERS = {
    "sgd": lambda groups: torch.optim.SGD(groups, lr=0.05),
    "momentum": lambda groups: torch.optim.SGD(groups, lr=0.05, momentum=0.9, nesterov=True),
    "adamw": lambda groups: torch.optim.AdamW(groups, lr=0.01),
    "rmsprop": lambda groups: torch.optim.RMSprop(groups, lr=0.001, momentum=0.9, centered=True),
}

every_optimizer = pytest.mark.parametrize("kind", sorted(OPTIMIZERS))


class Residual(nn.Module):
    """A stream with one branch, and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm = nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6)
        self.inner, self.inner_norm = nn.Conv2d(6, 5, 3, padding=1, bias=False), nn.BatchNorm2d(5)
        self.outer, self.outer_norm = nn.Conv2d(5, 6, 3, padding=1, bias=False), nn.BatchNorm2d(6)
        self.head = nn.Linear(6, 4)

    def forward(self, x):
        x = F.relu(self.norm(self.first(x)))
        x = F.relu(x + self.outer_norm(self.outer(F.relu(self.inner_norm(self.inner(x))))))
        return self.head(x.mean((2, 3)))


@pytest.fixture
def model():
    torch.manual_seed(1)
    return Residual().double()


def optimizer_of(model, kind):
    """Two groups, as in most recipes."""
    wide = [p for p in model.parameters() if p.ndim > 1]
    return OPTIMIZERS[kind](
        [{"params": wide, "weight_decay": 0.01}, {"params": [p for p in model.parameters() if p.ndim <= 1]}]
    )


def train(model, optimizer, steps):
    model.train()
    for _ in range(steps):
        optimizer.zero_grad()
        F.cross_entropy(model(IMAGES), LABELS).backward()
        optimizer.step()


def pruned(model):
    """Some channels of every group are zero."""
    for number, group in enumerate(find_groups(model, IMAGES)):
        if group.prunable:
            zero(model, group, torch.tensor([0, 2 + number]))
    return model


@every_optimizer
def test_it_goes_on_as_if_the_zero_channels_had_stayed(model, kind):
    optimizer = optimizer_of(model, kind)
    train(model, optimizer, 4)
    pruned(model)
    whole, held = copy.deepcopy((model, optimizer))
    small = shrink(model, IMAGES, align=1, optimizer=optimizer)
    assert sum(p.numel() for p in small.parameters()) < sum(p.numel() for p in model.parameters())
    keep_zeros(whole, held)
    train(whole, held, 4)
    train(small, optimizer, 4)
    # Only what the optimiser trains has changed, and all of it.
    assert {id(p) for group in optimizer.param_groups for p in group["params"]} == set(map(id, small.parameters()))
    torch.testing.assert_close(small.eval()(IMAGES), whole.eval()(IMAGES), rtol=1e-9, atol=1e-9)
    again = shrink(whole, IMAGES, align=1)
    for one, other in zip(small.parameters(), again.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-8, atol=1e-10)


def test_without_its_state_it_would_end_elsewhere(model):
    optimizer = optimizer_of(model, "momentum")
    train(model, optimizer, 4)
    pruned(model)
    state = copy.deepcopy((model, optimizer))
    small = shrink(model, IMAGES, align=1, optimizer=optimizer)
    train(small, optimizer, 2)
    fresh = shrink(state[0], IMAGES, align=1)
    train(fresh, optimizer_of(fresh, "momentum"), 2)
    assert not torch.allclose(small.head.weight, fresh.head.weight, rtol=1e-3)


def test_groups_of_parameters_and_learning_rates_stay(model):
    optimizer = optimizer_of(model, "momentum")
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, 1, 0.5)
    train(model, optimizer, 1)
    schedule.step()
    small = shrink(pruned(model), IMAGES, align=1, optimizer=optimizer)
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.01, 0]
    assert [[p.ndim > 1 for p in group["params"]] for group in optimizer.param_groups] == [[True] * 4, [False] * 8]
    before = small.head.weight.detach().clone()
    train(small, optimizer, 1)
    schedule.step()
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.05 / 4)
    assert not torch.equal(small.head.weight, before)


def test_a_bias_that_took_up_a_constant_is_trained_too():
    torch.manual_seed(2)
    model = nn.Sequential(
        nn.Conv2d(3, 6, 3), nn.Sigmoid(), nn.Conv2d(6, 4, 3, bias=False), nn.Flatten(), nn.Linear(64, 4)
    ).double()
    optimizer = optimizer_of(model, "momentum")
    train(model, optimizer, 2)
    small = shrink(pruned(model), IMAGES, align=1, optimizer=optimizer)
    assert small[2].bias is not None
    assert any(small[2].bias is p for p in optimizer.param_groups[0]["params"])
    before = small[2].bias.detach().clone()
    train(small, optimizer, 1)
    assert not torch.equal(small[2].bias, before)


def test_parameters_of_something_else_stay_in_it(model):
    other = nn.Parameter(torch.ones(3))
    optimizer = torch.optim.SGD([*model.parameters(), other], lr=0.1, momentum=0.9)
    train(model, optimizer, 2)
    small = shrink(pruned(model), IMAGES, align=1, optimizer=optimizer)
    assert len(optimizer.param_groups[0]["params"]) == len(list(small.parameters())) + 1
    assert any(p is other for p in optimizer.param_groups[0]["params"])


def test_the_optimizer_of_another_network_is_refused(model):
    other = torch.optim.SGD(Residual().parameters(), lr=0.1)
    with pytest.raises(UsageError, match="holds none of the model's parameters"):
        shrink(pruned(model), IMAGES, align=1, optimizer=other)
