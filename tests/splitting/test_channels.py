from __future__ import annotations

import pytest
import torch
from torch import nn

from compressor.groups import find_groups, zero
from compressor.penalties import PENALTIES, group_penalty, penalty
from compressor.splitting.channels import Channels, step_of_threshold_one

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
