"""Method slimming: scales of BatchNorm and their xi, step by step, and what projection makes of them."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from by_hand import IMAGE, OPTIMIZERS, STEPS, backward
from by_hand import network as one_norm
from torch import nn

from compressor.equivalence import outputs
from compressor.errors import CompressorWarning, UnknownName, UsageError
from compressor.groups import find_groups, is_zero
from compressor.shrinking import remove_zero_channels
from compressor.splitting import PaperSplitting, Slimming

STRENGTH, BETA = 0.3, 2.0
KINDS = OPTIMIZERS | {"adamw": lambda parts: torch.optim.AdamW(parts, lr=0.05, weight_decay=0.1)}
every_kind = pytest.mark.parametrize("kind", KINDS)
untrained = pytest.mark.filterwarnings(
    "ignore:the splitting was stopped after", "ignore:projection changes the outputs"
)


def network():
    """Two convolutions, each with a norm behind it, in float64; scales of both signs."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU(),
            nn.Conv2d(8, 6, 3, padding=1, bias=False), nn.BatchNorm2d(6), nn.ReLU(),
            nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(24, 4),
        ).double()  # fmt: skip
        for norm in (model[1], model[4]):
            nn.init.uniform_(norm.weight, -0.5, 1.0)
            nn.init.uniform_(norm.bias, -0.5, 0.5)
    return model


class Residual(nn.Module):
    """A stream that two convolutions make, each with a norm behind it; ``before`` puts the norms in front of readers.

    With ``raw`` a layer reads the stream without a norm.
    """

    def __init__(self, *, before=False, raw=False):
        super().__init__()
        self.before, self.raw = before, raw
        self.stem, self.norm1 = nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8)
        self.inner, self.norm2 = nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8)
        self.head, self.beside = nn.Linear(8, 4), nn.Linear(8, 4)

    def forward(self, x):
        x = self.stem(x)
        if self.before:
            x = x + self.inner(torch.relu(self.norm1(x)))
            read = torch.relu(self.norm2(x))
        else:
            x = self.norm1(x)
            read = x = torch.relu(x + self.norm2(self.inner(x)))
        out = self.head(read.mean((2, 3)))
        return out + self.beside(x.mean((2, 3))) if self.raw else out


def residual(**options):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Residual(**options).double()


def slimming_for(model, **options):
    return Slimming(model, IMAGE, **({"total_steps": STEPS, "strength": STRENGTH, "beta": BETA, "align": 1} | options))


def optimizer_for(model, kind, second=0.3):
    """Two parameter groups with a norm in each and different learning rates."""
    parts = [{"params": list(part.parameters())} for part in (model[:3], model[3:])]
    optimizer = KINDS[kind](parts)
    optimizer.param_groups[1]["lr"] *= second
    return optimizer


def trained(kind, steps=STEPS, second=0.3, fall=1.0, **options):
    """The network and its splitting; learning rates fall by that factor after every step."""
    model = network()
    optimizer, splitting = optimizer_for(model, kind, second), slimming_for(model, **options)
    splitting.attach(optimizer)
    for step in range(steps):
        backward(model, optimizer, step)
        optimizer.step()
        for group in optimizer.param_groups:
            group["lr"] *= fall
    return model, splitting


def soft(x, step):
    return math.copysign(max(abs(x) - step, 0.0), x)


def by_hand(kind, second=0.3, fall=1.0):
    """The two closed forms, one number at a time, after the optimiser's step."""
    model = network()
    optimizer = optimizer_for(model, kind, second)
    scales = (model[1].weight, model[4].weight)
    xis = [scale.tolist() for scale in scales]
    for step in range(STEPS):
        backward(model, optimizer, step)
        optimizer.step()
        for scale, xi, group in zip(scales, xis, optimizer.param_groups, strict=True):
            if group["lr"] > 0:
                alpha = 1 / group["lr"]
                for place, moved in enumerate(scale.tolist()):
                    gamma = (alpha * moved + BETA * xi[place]) / (alpha + BETA)
                    xi[place] = soft((alpha * xi[place] + BETA * gamma) / (alpha + BETA), STRENGTH / (alpha + BETA))
                    scale.data[place] = gamma
            group["lr"] *= fall
    return model, xis


@every_kind
@pytest.mark.parametrize("fall", [1.0, 0.5])
def test_seven_steps_are_those_of_the_formulas(kind, fall):
    (model, splitting), (expected, xis) = trained(kind, fall=fall), by_hand(kind, fall=fall)
    for found, wanted in zip(model.parameters(), expected.parameters(), strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-11)
    for xi, wanted in zip(splitting.state_dict()["xi"], xis, strict=True):
        torch.testing.assert_close(xi.tolist(), wanted, rtol=1e-9, atol=1e-11)


@every_kind
def test_some_xi_are_zero_by_then_and_some_are_not(kind):
    _, splitting = trained(kind, strength=0.6)
    xi = torch.cat(splitting.state_dict()["xi"])
    assert 0 < int((xi == 0).sum()) < len(xi)


@every_kind
def test_with_a_learning_rate_of_zero_nothing_moves(kind):
    start = network()
    model, splitting = trained(kind, second=0.0, strength=1e3)
    assert torch.equal(model[4].weight, start[4].weight)
    assert torch.equal(splitting.state_dict()["xi"][1], start[4].weight)
    assert not torch.equal(splitting.state_dict()["xi"][0], start[1].weight)


@pytest.mark.parametrize("lr", [0.01, 0.5, 20.0])
@pytest.mark.parametrize("beta", [0.25, 100.0])
def test_gamma_and_xi_are_the_minimisers_that_the_paper_defines(lr, beta):
    model = network()
    splitting = slimming_for(model, strength=0.7, beta=beta)
    optimizer = torch.optim.SGD(model.parameters(), lr=lr)
    splitting.attach(optimizer)
    for _ in range(2):  # in the second step xi is not gamma
        old, start = splitting.state_dict()["xi"][0], model[1].weight.detach().clone()
        model[1].weight.grad = torch.linspace(-1, 1, 8, dtype=torch.float64) / lr
        optimizer.step()
        moved, gamma, xi = start - lr * model[1].weight.grad, model[1].weight.detach(), splitting.state_dict()["xi"][0]
    grid = torch.linspace(-3, 3, 60_001, dtype=torch.float64)[:, None]

    def of_gamma(g):
        return (g - moved) ** 2 / (2 * lr) + beta / 2 * (g - old) ** 2

    def of_xi(x):
        return 0.7 * x.abs() + (x - old) ** 2 / (2 * lr) + beta / 2 * (x - gamma) ** 2

    for objective, found in ((of_gamma, gamma), (of_xi, xi)):
        best = objective(grid).min(0)
        assert (objective(found) <= best.values + 1e-12).all()
        torch.testing.assert_close(found, grid[best.indices, 0], rtol=0, atol=1e-4)


def test_a_scale_whose_optimizer_does_not_step_rests():
    model = network()
    splitting = slimming_for(model)
    rare, often = (torch.optim.SGD(part.parameters(), lr=0.1) for part in (model[:3], model[3:]))
    splitting.attach(rare, often)
    backward(model, often, 0)
    rare.step()
    often.step()
    before, scale = splitting.state_dict()["xi"], model[1].weight.detach().clone()
    backward(model, often, 1)
    often.step()
    after = splitting.state_dict()["xi"]
    assert torch.equal(after[0], before[0])
    assert torch.equal(model[1].weight, scale)
    assert not torch.equal(after[1], before[1])


def test_xi_starts_as_gamma():
    model = network()
    assert all(
        torch.equal(xi, norm.weight) for xi, norm in zip(slimming_for(model)._xi, (model[1], model[4]), strict=True)
    )


def test_the_defaults_are_those_of_the_authors():
    known = Slimming(network(), IMAGE, total_steps=1).config
    assert (known.penalty, known.strength, known.beta) == ("l1", 0.0045, (100.0, 100.0))


def test_a_state_is_not_changed_by_what_follows():
    model, splitting = trained("nesterov", 3)
    state = splitting.state_dict()
    before = copy.deepcopy(state)
    splitting.load_state_dict(state)
    optimizer = optimizer_for(model, "nesterov")
    splitting._handles.clear()
    splitting.attach(optimizer)
    backward(model, optimizer, 3)
    optimizer.step()
    assert all(torch.equal(one, other) for one, other in zip(state["xi"], before["xi"], strict=True))
    assert not torch.equal(splitting.state_dict()["xi"][0], state["xi"][0])


def test_a_state_with_xi_of_another_shape_is_refused():
    splitting = slimming_for(network())
    state = splitting.state_dict()
    with pytest.raises(UsageError, match="its xi has other shapes than the scales"):
        splitting.load_state_dict(state | {"xi": state["xi"][::-1]})


def with_zeros(splitting, zeros):
    """Make xi zero there: by the name of a norm, its places."""
    state = splitting.state_dict()
    for xi, name in zip(state["xi"], splitting._weights, strict=True):
        xi[zeros.get(name.removesuffix(".weight"), [])] = 0.0
    splitting.load_state_dict(state | {"step": splitting.total_steps})
    return splitting


def gone_in(model):
    """The channels that are zero, by group."""
    return {group.name: is_zero(model, group).nonzero().flatten().tolist() for group in find_groups(model, IMAGE)}


@untrained
def test_a_channel_goes_with_its_scale():
    model = network()
    projection = with_zeros(slimming_for(model), {"1": [0, 5], "4": [2]}).project()
    assert gone_in(model) == {"0": [0, 5], "3": [2], "8": []}
    assert projection.channels == {"0": (8, 6), "3": (6, 5)}
    assert (projection.entries_zeroed, projection.died, projection.zeros) == (3, 3, 0.0)
    assert projection.sparsity["xi"].weights == projection.sparsity["xi"].groups == 3 / 14
    assert (model[1].weight == 0).nonzero().flatten().tolist() == [0, 5]
    small = remove_zero_channels(model, IMAGE, align=1).model
    assert (small[0].out_channels, small[3].out_channels) == (6, 5)


@untrained
def test_in_a_residual_stream_all_scales_of_a_channel_must_be_zero():
    model = residual()
    projection = with_zeros(slimming_for(model), {"norm1": [1, 3], "norm2": [3, 6]}).project()
    assert gone_in(model)["stem"] == [3]
    assert (model.norm1.weight == 0).nonzero().flatten().tolist() == [1, 3]
    assert (model.norm2.weight == 0).nonzero().flatten().tolist() == [3, 6]
    # Of what stays, one scale of each norm gives constants.
    assert (projection.entries_zeroed, projection.zeros) == (4, 2 / 14)


@untrained
@pytest.mark.parametrize(("raw", "gone"), [(False, [3]), (True, [])])
def test_a_stream_that_is_read_without_a_norm_keeps_its_channels(raw, gone):
    model = residual(before=True, raw=raw)
    with_zeros(slimming_for(model), {"norm1": [1, 3], "norm2": [3, 6]}).project()
    assert gone_in(model)["stem"] == gone


@untrained
def test_looking_at_what_norms_hide_leaves_the_network_as_it_was():
    model = residual(before=True)
    before = copy.deepcopy(model.state_dict())
    slimming_for(model)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


@untrained
def test_groups_without_a_norm_stay():
    model = one_norm()
    with_zeros(slimming_for(model), {"1": [4]}).project()
    assert gone_in(model) == {"0": [4], "3": [], "7": []}


def test_nothing_changes_where_scales_and_biases_are_zero_already():
    model = network()
    splitting = with_zeros(slimming_for(model), {"1": [0, 5], "4": [2]})
    with torch.no_grad():
        for norm, places in ((model[1], [0, 5]), (model[4], [2])):
            norm.weight[places] = norm.bias[places] = 0.0
    images = torch.randn(4, 3, 8, 8, dtype=torch.float64)
    before = outputs(model, images)
    projection = splitting.project()  # a warning would be an error
    assert projection.gap == 0
    torch.testing.assert_close(outputs(model, images), before, rtol=1e-12, atol=1e-12)
    assert not model[0].weight[[0, 5]].any()


def test_the_gap_counts_scales_and_constants_and_no_filter():
    model = network()
    splitting = with_zeros(slimming_for(model), {"1": [0]})
    norms = torch.cat([p.detach() for norm in (model[1], model[4]) for p in norm.parameters()])
    lost = torch.stack([model[1].weight[0], model[1].bias[0]]).detach()
    before = copy.deepcopy(model.state_dict())
    assert splitting.gap() == pytest.approx(float(lost.norm() / norms.norm()), rel=1e-12)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    with pytest.warns(CompressorWarning, match="projection changes the outputs"):
        splitting.project()


def test_a_network_is_zeroed_for_a_while():
    model = network()
    splitting = with_zeros(slimming_for(model), {"1": [0, 5]})
    before = copy.deepcopy(model.state_dict())
    with splitting.zeroed():
        assert gone_in(model)["0"] == [0, 5]
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


@untrained
def test_an_averaged_copy_loses_the_same_channels():
    model = network()
    splitting = with_zeros(slimming_for(model), {"1": [0, 5]})
    average = copy.deepcopy(model)
    with torch.no_grad():
        average[1].weight.mul_(0.5)
    projection = splitting.project(model=average)
    assert projection.channels == {"0": (8, 6), "3": (6, 6)}
    assert (gone_in(average)["0"], gone_in(model)["0"]) == ([0, 5], [])


@untrained
def test_layers_are_names_of_norms():
    model = network()
    splitting = slimming_for(model, layers=("4",))
    assert list(splitting._weights) == ["4.weight"]
    with_zeros(splitting, {"4": [2]}).project()
    assert gone_in(model) == {"0": [], "3": [2], "8": []}


@untrained
def test_where_another_norm_is_not_penalised_channels_stay():
    model = residual()
    with_zeros(slimming_for(model, layers=("norm1",)), {"norm1": [3]}).project()
    assert gone_in(model)["stem"] == []
    assert float(model.norm1.weight[3].detach()) == 0


def test_a_pattern_that_no_norm_matches_is_refused():
    with pytest.raises(UnknownName, match=r"no trainable BatchNorm is called '3'. Known: 1, 4\."):
        slimming_for(network(), layers=("3",))


def frozen():
    model = network()
    for norm in (model[1], model[4]):
        norm.weight.requires_grad_(False)
    return model


WITHOUT = {
    "none": lambda: nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(288, 4)).double(),
    "without weights": lambda: nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8, affine=False)).double(),
    "of layers": lambda: nn.Sequential(nn.Flatten(), nn.Linear(192, 8), nn.LayerNorm(8), nn.Linear(8, 4)).double(),
    "frozen": frozen,
}


@pytest.mark.parametrize("build", WITHOUT.values(), ids=list(WITHOUT))
def test_a_network_without_a_scale_is_refused(build):
    with pytest.raises(
        UsageError, match="--method slimming penalises the scales of BatchNorm, and no trainable layer has one"
    ):
        slimming_for(build())


@pytest.mark.parametrize("steps", [0, -1, 1.5])
def test_the_number_of_steps_is_checked(steps):
    with pytest.raises(UsageError, match=f"method slimming needs total_steps, at least 1, got {steps}"):
        slimming_for(network(), total_steps=steps)


def test_it_is_none_of_the_methods_on_weights():
    with pytest.raises(UsageError, match="method slimming is that of Slimming; PaperSplitting has paper, rvsm and"):
        PaperSplitting(network(), IMAGE, method="slimming", total_steps=1, epoch_steps=1)
