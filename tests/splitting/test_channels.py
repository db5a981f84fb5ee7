from __future__ import annotations

import pytest
import torch
from compressor.splitting.channels import Channels, step_of_threshold_one
from torch import nn

from compressor.groups import ChannelGroup, Member, find_groups, zero
from compressor.penalties import GROUP_PENALTIES, group_penalty, penalty

VECTOR = torch.zeros(2, 5)
L0 = penalty("l0")


def mlp(width=6):
    net = nn.Sequential(nn.Linear(5, width), nn.BatchNorm1d(width), nn.ReLU(), nn.Linear(width, 3))
    for parameter in net.parameters():
        nn.init.normal_(parameter, generator=torch.Generator().manual_seed(parameter.numel()))
    return net


def parts(model, phi=L0):
    groups = [group for group in find_groups(model, VECTOR) if group.prunable]
    return groups[0], Channels(model, groups, phi)


def alive(part):
    return (~part.dropped()[0]).nonzero().flatten().tolist()


def test_nothing_is_penalised_before_a_selection():
    assert alive(parts(mlp())[1]) == list(range(6))


@pytest.mark.parametrize("kept", range(1, 7))
def test_the_highest_scores_survive(kept):
    _, part = parts(mlp())
    score = torch.tensor([3.0, 1.0, 6.0, 2.0, 5.0, 4.0])
    part.keep_best([score], [kept])
    assert alive(part) == sorted(score.argsort(descending=True)[:kept].tolist())


SCORES = {
    "all equal": torch.ones(6),
    "all zero": torch.zeros(6),
    "ties at the cut": torch.tensor([2.0, 1, 1, 1, 1, 0.5]),
    "zeros at the cut": torch.tensor([2.0, 0, 0, 1, 0, 0]),
    "huge range": torch.tensor([1e30, 1e-30, 1e-38, 1.0, 1e20, 1e-10]),
    "one ulp apart": torch.nextafter(torch.ones(6), torch.tensor([2.0, 0, 2, 0, 2, 0])),
}


@pytest.mark.parametrize("case", SCORES)
@pytest.mark.parametrize("kept", range(1, 7))
def test_exactly_the_asked_number_survives(case, kept):
    _, part = parts(mlp())
    part.keep_best([SCORES[case]], [kept])
    assert len(alive(part)) == kept


@pytest.mark.parametrize("kept", range(1, 7))
def test_exactly_the_asked_number_survives_when_channels_are_already_zero(kept):
    model = mlp()
    group, part = parts(model)
    zero(model, group, torch.tensor([0, 3, 4]))
    part.keep_best([torch.tensor([0.0, 5, 4, 0, 0, 3])], [kept])
    assert len(alive(part)) == kept


@pytest.mark.parametrize("factor", [1e-6, 1e6])
def test_the_selection_does_not_depend_on_the_scale_of_the_weights(factor):
    model = mlp()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter *= factor
    _, part = parts(model)
    part.keep_best([torch.tensor([3.0, 1, 6, 2, 5, 4])], [3])
    assert alive(part) == [2, 4, 5]


def test_the_gap_is_the_squared_norm_of_what_would_go():
    model = mlp()
    _, part = parts(model)
    part.keep_best([torch.tensor([3.0, 1, 6, 2, 5, 4])], [5])
    tensors = [p.detach() for p in (model[0].weight, model[0].bias, model[1].weight, model[1].bias)]
    lost, all_ = part.gap()
    assert float(lost) == pytest.approx(sum(float(t[1].square().sum()) for t in tensors))
    assert float(all_) == pytest.approx(sum(float(t.square().sum()) for t in tensors))


def test_a_dropped_channel_that_grows_back_lives_again():
    model = mlp()
    _, part = parts(model)
    part.keep_best([torch.tensor([3.0, 1, 6, 2, 5, 4])], [5])
    with torch.no_grad():
        model[0].weight[1] *= 100
    assert alive(part) == list(range(6))


def test_the_pull_moves_dropped_channels_only():
    model = mlp()
    _, part = parts(model)
    before = model[0].weight.detach().clone()
    part.keep_best([torch.tensor([3.0, 1, 6, 2, 5, 4])], [4])
    with torch.no_grad():
        part.pull({model[0].weight: 0.25})
    factors = torch.tensor([1, 0.75, 1, 0.75, 1, 1])
    torch.testing.assert_close(model[0].weight.detach(), before * factors[:, None], rtol=0, atol=0)


def test_parameters_without_a_rate_stay():
    model = mlp()
    _, part = parts(model)
    before = model[1].weight.detach().clone()
    part.keep_best([torch.tensor([3.0, 1, 6, 2, 5, 4])], [4])
    with torch.no_grad():
        part.pull({model[0].weight: 0.25})
    assert torch.equal(model[1].weight, before)


WITH_PROX = sorted(name for name in GROUP_PENALTIES if hasattr(group_penalty(name), "prox"))


def scattered():
    """A network, and two groups whose channels take some of its rows, one of them two rows a channel."""
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Conv2d(8, 10, 3, bias=False), nn.Linear(7, 5))
    for parameter in model.parameters():
        nn.init.normal_(parameter, generator=torch.Generator().manual_seed(parameter.numel()))
    some, pairs = torch.tensor([[1], [3], [4], [6]]), torch.tensor([[0, 5], [2, 7], [9, 1]])
    both, weight = (("weight", 0), ("bias", 0)), (("weight", 0),)
    first = ChannelGroup("0", 4, (Member("0", "producer", some, both), Member("1", "norm", some, both)))
    ones = Member("3", "producer", torch.tensor([[0], [2], [4]]), both)
    second = ChannelGroup("2", 3, (Member("2", "producer", pairs, weight), ones))
    return model, [first, second]


RATES = {
    "one": lambda model: 0.3,
    "several": lambda model: {parameter: 0.1 + 0.05 * i for i, parameter in enumerate(model.parameters())},
    "some": lambda model: dict.fromkeys(list(model.parameters())[::2], 0.5),
}


def seven_pulls(how, name, rates):
    """Seven pulls with something happening to the weights in between, and the selection revised once."""
    model, groups = scattered()
    part = Channels(model, groups, group_penalty(name).phi)
    noise = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for step in range(7):
            for parameter in model.parameters():
                parameter += 0.2 * torch.randn(parameter.shape, generator=noise)
            if step in (0, 4):
                scores = [torch.rand(group.channels, generator=noise) for group in groups]
                part.keep_best(scores, [2, 1])
            getattr(part, how)(RATES[rates](model))
    return model


@pytest.mark.parametrize("rates", RATES)
@pytest.mark.parametrize("name", WITH_PROX)
def test_seven_fast_pulls_are_those_of_the_readable_definition(name, rates):
    pairs = zip(
        seven_pulls("pull", name, rates).parameters(),
        seven_pulls("reference_pull", name, rates).parameters(),
        strict=True,
    )
    for fast, slow in pairs:
        torch.testing.assert_close(fast, slow, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", WITH_PROX)
def test_rows_of_no_group_keep_every_bit(name):
    model, groups = scattered()
    before = model[0].weight.detach().clone()
    part = Channels(model, groups, group_penalty(name).phi)
    part.keep_best([torch.arange(4.0), torch.arange(3.0)], [1, 1])
    with torch.no_grad():
        part.pull(0.5)
    assert torch.equal(model[0].weight[[0, 2, 5, 7]], before[[0, 2, 5, 7]])
    assert not torch.equal(model[0].weight[1], before[1])


@pytest.mark.parametrize("name", WITH_PROX)
def test_one_pull_is_that_of_the_formulas(name):
    """U_g = W_g L prox_phi(|W_g| / L) / |W_g|, where the prox is zero up to L = |W_g| sqrt(cut / score)."""
    model, phi = mlp(), group_penalty(name).phi
    _, part = parts(model, phi)
    tensors = [model[0].weight, model[0].bias, model[1].weight, model[1].bias]
    before = [tensor.detach().clone() for tensor in tensors]
    score = torch.tensor([3.0, 1, 6, 2, 5, 4])
    part.keep_best([score], [4])
    with torch.no_grad():
        for tensor in tensors:
            tensor[1] *= 3  # past its limit
        part.pull(0.25)
    # Channels 1 and 3 go; the cut lies between the scores 2 and 3.
    norm = sum(float(old[1].square().sum()) for old in before) ** 0.5
    limit = norm * ((2 * 3) ** 0.5 / 1) ** 0.5
    u = limit * float(phi.prox(torch.tensor(3 * norm / limit), step_of_threshold_one(phi))) / (3 * norm)
    for tensor, old in zip(tensors, before, strict=True):
        expected = old * (1 - 0.25 * (torch.arange(6) == 3).float()).view(-1, *[1] * (old.ndim - 1))
        expected[1] = 3 * old[1] * (1 + 0.25 * (u - 1))
        torch.testing.assert_close(tensor.detach(), expected, rtol=1e-4, atol=1e-6)
