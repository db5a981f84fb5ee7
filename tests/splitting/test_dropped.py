from __future__ import annotations

import pytest
import torch
from torch import nn

from compressor.groups import ChannelGroup, Member, find_groups, zero
from compressor.splitting.dropped import DroppedChannels

VECTOR = torch.zeros(2, 5)


def mlp(width=6):
    net = nn.Sequential(nn.Linear(5, width), nn.BatchNorm1d(width), nn.ReLU(), nn.Linear(width, 3))
    for parameter in net.parameters():
        nn.init.normal_(parameter, generator=torch.Generator().manual_seed(parameter.numel()))
    return net


def parts(model):
    groups = [group for group in find_groups(model, VECTOR) if group.prunable]
    return groups[0], DroppedChannels(model, groups)


def alive(part):
    return (~part.dropped()[0]).nonzero().flatten().tolist()


def test_nothing_is_dropped_before_a_selection():
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


def test_a_dropped_channel_that_grows_is_still_dropped():
    model = mlp()
    _, part = parts(model)
    part.keep_best([torch.tensor([3.0, 1, 6, 2, 5, 4])], [5])
    with torch.no_grad():
        model[0].weight[1] *= 100
    assert alive(part) == [0, 2, 3, 4, 5]


def test_the_pull_moves_dropped_channels_only():
    model = mlp()
    _, part = parts(model)
    before = model[0].weight.detach().clone()
    part.keep_best([torch.tensor([3.0, 1, 6, 2, 5, 4])], [4])
    with torch.no_grad():
        part.pull(0.25)
    factors = torch.tensor([1, 0.75, 1, 0.75, 1, 1])
    torch.testing.assert_close(model[0].weight.detach(), before * factors[:, None], rtol=0, atol=0)


def test_a_whole_pull_leaves_exact_zeros_and_every_bit_of_the_rest():
    model = mlp()
    _, part = parts(model)
    before = model[0].weight.detach().clone()
    part.keep_best([torch.tensor([3.0, 1, 6, 2, 5, 4])], [4])
    with torch.no_grad():
        part.pull(1.0)
    assert torch.equal(model[0].weight.detach(), before * torch.tensor([1, 0, 1, 0, 1, 1])[:, None])


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


def seven_pulls(how):
    """Seven pulls with something happening to the weights in between, and the selection revised once."""
    model, groups = scattered()
    part = DroppedChannels(model, groups)
    noise = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for step in range(7):
            for parameter in model.parameters():
                parameter += 0.2 * torch.randn(parameter.shape, generator=noise)
            if step in (0, 4):
                scores = [torch.rand(group.channels, generator=noise) for group in groups]
                part.keep_best(scores, [2, 1])
            getattr(part, how)(0.1 + 0.15 * step)
    return model


def test_seven_fast_pulls_are_those_of_the_readable_definition():
    pairs = zip(seven_pulls("pull").parameters(), seven_pulls("reference_pull").parameters(), strict=True)
    for fast, slow in pairs:
        torch.testing.assert_close(fast, slow, rtol=1e-5, atol=1e-6)


def test_rows_of_no_group_keep_every_bit():
    model, groups = scattered()
    before = model[0].weight.detach().clone()
    part = DroppedChannels(model, groups)
    part.keep_best([torch.arange(4.0), torch.arange(3.0)], [1, 1])
    with torch.no_grad():
        part.pull(0.5)
    assert torch.equal(model[0].weight[[0, 2, 5, 7]], before[[0, 2, 5, 7]])
    assert not torch.equal(model[0].weight[1], before[1])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_weights_of_every_precision_are_pulled(dtype):
    model = mlp().to(dtype)
    part = DroppedChannels(model, [group for group in find_groups(mlp(), VECTOR) if group.prunable])
    part.keep_best([torch.tensor([3.0, 1, 6, 2, 5, 4])], [4])
    with torch.no_grad():
        part.pull(1.0)
    assert (model[0].weight == 0).all(1).nonzero().flatten().tolist() == [1, 3]
    assert model[0].weight.dtype == dtype
