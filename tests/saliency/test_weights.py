from __future__ import annotations

import pytest
import torch
from torch import nn

from compressor.groups import find_groups, zero
from compressor.saliency.weights import squared_saliency as saliency

IMAGE = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def model():
    generator = torch.Generator().manual_seed(1)
    net = nn.Sequential(nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 4, 3)).eval()
    for parameter in net.parameters():
        nn.init.normal_(parameter, generator=generator)
    nn.init.normal_(net[1].running_mean, generator=generator)
    nn.init.uniform_(net[1].running_var, 0.5, 2, generator=generator)
    return net


class Last(nn.Module):
    """A linear layer on the states of a recurrent one."""

    def __init__(self, recurrent, head):
        super().__init__()
        self.recurrent, self.head = recurrent, head

    def forward(self, x):
        return self.head(self.recurrent(x)[0])


def group_of(model):
    return next(group for group in find_groups(model, IMAGE) if group.prunable)


@torch.no_grad()
def scale_filter(model, channel, factor):
    """What training would show after the filter grew by ``factor``: no output changes."""
    model[0].weight[channel] *= factor
    model[1].running_mean[channel] *= factor
    model[1].running_var[channel] *= factor**2


def test_a_filter_scaled_in_front_of_batchnorm_keeps_its_saliency(model):
    before = saliency(model, group_of(model))
    scale_filter(model, 2, 20.0)
    torch.testing.assert_close(saliency(model, group_of(model)), before, rtol=1e-4, atol=1e-5)


def test_the_same_scaling_does_change_the_plain_norm(model):
    before = model[0].weight.detach().square().sum((1, 2, 3))
    scale_filter(model, 2, 20.0)
    after = model[0].weight.detach().square().sum((1, 2, 3))
    assert after[2] == pytest.approx(400 * float(before[2]), rel=1e-5)


def test_saliency_is_the_formula_written_out(model):
    norm = model[1]
    sent = model[0].weight.square().sum((1, 2, 3)) * norm.weight.square() / (norm.running_var + norm.eps)
    read = model[3].weight.square().sum((0, 2, 3))
    product = (sent / sent.mean()) * (read / read.mean())
    torch.testing.assert_close(saliency(model, group_of(model)), (product / product.mean()).detach())


def test_the_scale_of_the_norm_counts(model):
    before = saliency(model, group_of(model))
    with torch.no_grad():
        model[1].weight[5] *= 3
    assert saliency(model, group_of(model))[5] > before[5]


def test_what_the_next_layer_ignores_has_no_saliency(model):
    with torch.no_grad():
        model[3].weight[:, 6] = 0
    assert saliency(model, group_of(model))[6] == 0


def test_the_mean_is_one_for_one_reader(model):
    assert saliency(model, group_of(model)).mean() == pytest.approx(1.0)


class TwoReaders(nn.Module):
    def __init__(self, model):
        super().__init__()
        self.shared, self.left, self.right = model[:3], model[3], nn.Conv2d(8, 4, 3)

    def forward(self, x):
        return self.left(self.shared(x)) * self.right(self.shared(x))


def test_readers_add_up(model):
    both = TwoReaders(model).eval()
    found = saliency(both, group_of(both))
    assert found.mean() == pytest.approx(2.0)


def test_zero_channels_have_none_and_the_others_stay_finite(model):
    zero(model, group_of(model), torch.arange(7))
    assert saliency(model, group_of(model)).tolist() == [0.0] * 7 + [8.0]


def test_a_dead_group_has_no_saliency_rather_than_nan(model):
    zero(model, group_of(model), torch.arange(8))
    assert saliency(model, group_of(model)).tolist() == [0.0] * 8


def test_a_reader_scaled_in_front_of_batchnorm_changes_no_saliency(model):
    reader, norm = model[3], nn.BatchNorm2d(4)
    longer = nn.Sequential(*model, norm, nn.ReLU(), nn.Conv2d(4, 2, 3)).eval()
    group = group_of(longer)
    before = saliency(longer, group)
    with torch.no_grad():
        factors = torch.tensor([0.25, 1.0, 5.0, 20.0])
        reader.weight *= factors[:, None, None, None]
        norm.running_var.add_(norm.eps).mul_(factors.square()).sub_(norm.eps)
    torch.testing.assert_close(saliency(longer, group), before, rtol=1e-4, atol=1e-5)


def test_hidden_units_are_measured_by_all_gates_and_all_that_reads_them():
    rnn, head = nn.GRU(3, 6, batch_first=True), nn.Linear(6, 4)
    model = Last(rnn, head).eval()
    group = next(group for group in find_groups(model, IMAGE[:, :, 0].transpose(1, 2)) if group.prunable)
    rows = torch.cat([rnn.weight_ih_l0, rnn.weight_hh_l0, rnn.bias_ih_l0[:, None], rnn.bias_hh_l0[:, None]], 1)
    sent = rows.square().sum(1).view(3, 6).sum(0)
    own, read = rnn.weight_hh_l0.square().sum(0), head.weight.square().sum(0)
    product = sent / sent.mean() * (own / own.mean() + read / read.mean())
    torch.testing.assert_close(saliency(model, group), (2 * product / product.mean()).detach())


def test_queries_and_keys_read_each_other():
    class Matching(nn.Module):
        def __init__(self):
            super().__init__()
            self.left, self.right = nn.Linear(8, 6), nn.Linear(8, 6)

        def forward(self, x):
            return self.left(x) @ self.right(x).transpose(-1, -2)

    model = Matching()
    group = next(group for group in find_groups(model, IMAGE) if group.prunable)
    left, right = (m.weight.square().sum(1) + m.bias.square() for m in (model.left, model.right))
    product = left * right
    torch.testing.assert_close(saliency(model, group), (product / product.mean()).detach())
