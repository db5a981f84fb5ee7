"""The pre-flight on every pattern: predictions are what removal gives, and refusals say what would help."""

from __future__ import annotations

import re

import pytest
import torch
import zoo_attention
import zoo_transformers
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode
from zoo_networks import PATTERNS
from zoo_tools import groups_of, seeded, small_of

from compressor.alignment import Alignment
from compressor.architectures.constant import Constant
from compressor.costs import count_macs, count_parameters
from compressor.equivalence import outputs
from compressor.forecast import Forecast
from compressor.groups import zero
from compressor.groups.advice import advice, is_output
from compressor.shrinking import remove_zero_channels

removable = pytest.mark.parametrize("pattern", [p for p in PATTERNS if p.groups], ids=lambda pattern: pattern.name)
# What takes in all channels at once, or mixes them with others, does so by intent.
BY_INTENT = (
    "softmax over|mean over|no convolution, linear or|broadcast over|fixed width in 3|single channel|matrix by matrix"
)


def predicted(pattern):
    """The costs that are predicted for the dearest target that can be reached, and those after removal."""
    model, inputs = seeded(pattern), pattern.inputs()
    groups = groups_of(pattern)
    found = Forecast(model, inputs, groups, Alignment(1)).predictions()
    reached = [prediction for prediction in found if prediction.channels]
    for prediction in reached[-1:]:
        for group in groups:
            if group.prunable:
                zero(model, group, torch.arange(prediction.channels[group.name], group.channels))
        small = remove_zero_channels(model, inputs, groups=groups, align=1).model
        # What zero channels still send goes into biases, which nobody can know before.
        held = {name for name, module in small.named_modules() if not isinstance(module, Constant)}
        added = {name for name, _ in small.named_parameters() if name.rpartition(".")[0] in held}
        added -= {name for name, _ in model.named_parameters()}
        parameters = count_parameters(small) - sum(small.get_parameter(name).numel() for name in added)
        return (prediction.macs, prediction.parameters), (count_macs(small, inputs), parameters)
    return None, None


@removable
def test_what_is_predicted_is_what_removal_gives(pattern):
    expected, found = predicted(pattern)
    assert expected == found


def counted_by_torch(model, inputs):
    """MACs of one sample, by torch's own counter, which counts attention only where it is not fused."""
    model.eval()
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        outputs(model, inputs)
    return counter.get_total_flops() / 2 / len(inputs)


@pytest.mark.parametrize(
    "pattern", [p for p in (*zoo_attention.PATTERNS, *zoo_transformers.PATTERNS) if p.groups], ids=lambda p: p.name
)
def test_products_of_attention_are_counted_as_torch_counts_them(pattern):
    inputs = pattern.inputs()
    for network in (seeded(pattern), small_of(pattern)):
        assert count_macs(network, inputs) == counted_by_torch(network, inputs)


@pytest.mark.parametrize("pattern", [p for p in PATTERNS if p.refused], ids=lambda pattern: pattern.name)
def test_a_refused_group_says_what_would_help(pattern):
    for group in groups_of(pattern):
        if group.excluded and not is_output(group.excluded):
            assert advice(group.excluded) or re.search(BY_INTENT, group.excluded), group.excluded
