"""Networks whose code makes or asks for numbers of its own precision, and networks in half precision."""

from __future__ import annotations

import warnings

import pytest
import torch
from torch import nn
from zoo_inputs import complex_filter, half, insisting
from zoo_parts import image

from compressor.costs import count_macs
from compressor.equivalence import outputs
from compressor.errors import CompressorWarning
from compressor.groups import find_groups, zero
from compressor.inputs import cast
from compressor.precision import computed_in, in_precision
from compressor.shrinking import remove_zero_channels


def with_zeros(model, example):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CompressorWarning)
        groups = [group for group in find_groups(model, example) if group.prunable]
    for group in groups:
        zero(model, group, torch.arange(group.channels // 2))
    return groups


@pytest.mark.parametrize("made", [
    lambda x: torch.zeros(2),
    lambda x: torch.full((2,), 0.5),
    lambda x: torch.ones(2, dtype=torch.float32),
    lambda x: torch.arange(2, dtype=torch.float16),
    lambda x: torch.tensor(0.5),
    lambda x: torch.zeros_like(x, dtype=torch.float32),
    lambda x: x.new_zeros(2, dtype=torch.bfloat16),
    lambda x: x.float(),
    lambda x: x.half(),
    lambda x: x.to(torch.float32),
    lambda x: x.to(dtype=torch.bfloat16),
    lambda x: x.to("cpu", torch.float32),
    lambda x: x.type(torch.float32),
    lambda x: x.type("torch.FloatTensor"),
    lambda x: x.type(torch.HalfTensor),
    lambda x: torch.float_power(x, 2),
    lambda x: torch.linspace(0, 1, 3),
])  # fmt: skip
def test_what_code_makes_or_casts_is_float64(made):
    x = torch.tensor([1 / 3, 2 / 3], dtype=torch.float64)
    with computed_in(torch.float64):
        assert made(x).dtype is torch.float64
    assert torch.get_default_dtype() is torch.float32


def test_a_cast_loses_no_digit_and_whole_numbers_stay_whole():
    x = torch.tensor([1 / 3], dtype=torch.float64)
    with computed_in(torch.float64):
        assert torch.equal(x.float(), x)
        assert torch.tensor(3).dtype is torch.arange(4).dtype is torch.int64
        assert torch.tensor(True).dtype is torch.bool
        assert torch.ones(2, dtype=torch.complex64).dtype is torch.complex128


def test_what_is_written_into_a_plain_attribute_is_read_again():
    state = torch.zeros(2)
    with computed_in(torch.float64):
        state.add_(1)
        kept = state * 2
    assert kept.tolist() == [2, 2]
    assert kept.dtype is torch.float64


def test_a_complex_parameter_becomes_as_wide():
    model = complex_filter()
    assert next(model.parameters()).is_complex()
    assert in_precision(model, torch.float64).response.dtype is torch.complex128
    example = image()
    groups = with_zeros(model, example)
    assert [group.name for group in groups] == ["fc"]
    assert count_macs(model, example) == 24 * 8 + 8 * 4
    small = remove_zero_channels(model, example, groups=groups, align=1)
    assert small.removal.float64 <= 1e-9
    assert small.model.response.dtype is torch.complex64


def test_code_that_takes_float32_alone_is_probed_in_it_and_that_is_said():
    with pytest.warns(CompressorWarning, match="probed in float32, where differences below 1e-05 .* images must be"):
        found = find_groups(insisting(), image())
    assert {group.name for group in found if group.prunable} == {"conv"}


def test_what_is_removed_in_float32_alone_says_so():
    model = insisting().eval()
    removal = remove_zero_channels(model, image(), groups=with_zeros(model, image()), align=1).removal
    assert removal.float64 is None
    assert removal.float32 <= removal.float32_limit == 1e-5
    assert removal.channels_removed == 4


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16])
def test_a_network_in_half_precision_stays_in_it(kind):
    model, example = half().to(kind).eval(), image().to(kind)
    small = remove_zero_channels(model, example, groups=with_zeros(model, example), align=1)
    assert small.removal.float64 <= 1e-9
    assert {parameter.dtype for parameter in small.model.parameters()} == {kind}
    assert outputs(small.model, example)[0].dtype is kind
    assert 0 < count_macs(small.model, example) < count_macs(model, example)


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16])
def test_a_constant_that_is_rounded_to_half_precision_is_within_its_bound(kind):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 8), nn.Sigmoid(), nn.Linear(8, 4)).to(kind)
    example = torch.randn(2, 6).to(kind)
    removal = remove_zero_channels(model, example, groups=with_zeros(model, example), align=1).removal
    assert removal.float64 <= 1e-9
    assert removal.float32 <= removal.float32_limit == 4 * torch.finfo(kind).eps


def test_code_in_half_precision_is_compared_in_float64():
    class Halves(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.head = nn.Conv2d(3, 8, 3), nn.Linear(8, 4)

        def forward(self, x):
            return self.head(self.conv(x.half()).relu().mean((2, 3)).half())

    model = Halves().half()
    found = outputs(in_precision(model, torch.float64), cast(image(), torch.float64))
    assert found[0].dtype is torch.float64
    assert remove_zero_channels(model, image(), groups=with_zeros(model, image()), align=1).removal.float64 <= 1e-9
