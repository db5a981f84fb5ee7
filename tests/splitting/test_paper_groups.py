from __future__ import annotations

import pytest
import torch
from by_hand import input_channels, neurons, norm
from torch import nn

from compressor.architectures.lenet import lenet5
from compressor.penalties import group_penalty
from compressor.records import Sparsity
from compressor.splitting import PaperSplitting
from compressor.splitting.paper_groups import as_rows, from_rows, prox_of_rows, rows_axis, sparsity

EXAMPLE = torch.zeros(2, 1, 28, 28)
WEIGHTS = {
    "linear": torch.arange(12.0).view(3, 4),
    "1-d convolution": torch.arange(24.0).view(3, 4, 2),
    "convolution": torch.arange(108.0).view(3, 4, 3, 3),
    "channels last": torch.arange(108.0).view(3, 4, 3, 3).contiguous(memory_format=torch.channels_last),
    "depthwise": torch.arange(36.0).view(4, 1, 3, 3),
}
every_weight = pytest.mark.parametrize("weight", WEIGHTS.values(), ids=list(WEIGHTS))
every_kind = pytest.mark.parametrize("kind", ["filters", "input channels"])


def rows_by_hand(weight, kind):
    by_input = kind == "input channels" or weight.ndim == 2
    return [(weight[:, i] if by_input else weight[i]).flatten() for i in range(weight.shape[int(by_input)])]


@every_weight
@every_kind
def test_rows_are_the_groups_of_the_papers(weight, kind):
    assert torch.equal(as_rows(weight, kind), torch.stack(rows_by_hand(weight, kind)))


@every_weight
@every_kind
def test_rows_lie_along_their_axis(weight, kind):
    assert len(as_rows(weight, kind)) == weight.shape[rows_axis(weight, kind)]


@every_weight
@every_kind
def test_rows_go_back_into_their_weight(weight, kind):
    assert torch.equal(from_rows(as_rows(weight, kind), weight, kind), weight)


@every_weight
@every_kind
def test_the_prox_of_rows_is_that_of_each_row(weight, kind):
    found = prox_of_rows(group_penalty("lasso"), kind)(weight, 2.0)
    for row, old in zip(rows_by_hand(found, kind), rows_by_hand(weight, kind), strict=True):
        torch.testing.assert_close(row, max(1 - 2 / (norm(old) or 1.0), 0) * old)


def paper_sparsity(model):
    splitting = PaperSplitting(model, EXAMPLE, method="paper", total_steps=1, epoch_steps=1, samples=1)
    return splitting.sparsity()["W at 1e-05"]


def lenet():
    model = lenet5()
    for parameter in model.parameters():
        nn.init.constant_(parameter, 0.1)
    return model


def test_lenet5_has_the_neurons_and_weights_that_the_papers_count():
    weights = [module.weight for module in lenet().modules() if isinstance(module, nn.Conv2d | nn.Linear)]
    assert sum(len(neurons(weight)) for weight in weights) == 20 + 50 + 800 + 500 == 1370
    assert sum(weight.numel() for weight in weights) == 500 + 25_000 + 400_000 + 5_000 == 430_500


@pytest.mark.parametrize(
    ("layer", "neuron", "zeros"),
    [("conv1", (3,), 25), ("conv2", (7,), 500), ("fc1", (slice(None), 11), 500), ("fc2", (slice(None), 2), 10)],
)
def test_a_neuron_is_a_filter_or_an_input_unit(layer, neuron, zeros):
    model = lenet()
    with torch.no_grad():
        model.get_submodule(layer).weight[neuron] = -9.9e-6
    found = paper_sparsity(model)
    assert (found.groups, found.weights) == (pytest.approx(1 / 1370), pytest.approx(zeros / 430_500))


def test_a_row_of_a_linear_layer_is_no_neuron():
    model = lenet()
    with torch.no_grad():
        model.fc1.weight[4] = 0
    assert paper_sparsity(model).groups == 0


def test_a_neuron_counts_by_the_mean_of_its_weights():
    tensor = torch.tensor([[3e-5, 3e-5], [0.0, 0.0], [0.0, 2e-5]])
    # Input units have means of 1e-5 and 1.7e-5.
    assert (sparsity([tensor], 1.01e-5).groups, sparsity([tensor], 2e-5).groups) == (0.5, 1.0)


def test_without_a_tolerance_only_exact_zeros_count():
    assert sparsity([torch.tensor([[0.0, 1e-30], [0.0, 1.0]])]) == Sparsity(weights=0.5, groups=0.5)


def test_every_weight_counts_once_over_all_layers():
    found = sparsity([torch.zeros(1, 1, 3, 3), torch.ones(3, 1)])
    assert (found.weights, found.groups) == (9 / 12, 1 / 2)


def test_no_weights_are_no_zeros():
    assert sparsity([]) == Sparsity(weights=0.0, groups=0.0)


def test_input_channels_by_hand_are_those_of_a_convolution():
    weight = WEIGHTS["convolution"]
    assert torch.equal(as_rows(weight, "input channels"), torch.stack([r.flatten() for r in input_channels(weight)]))
