from __future__ import annotations

import pytest
import torch
from torch import nn

from compressor.architectures import ARCHITECTURES
from compressor.costs import count_macs, count_parameters
from compressor.sources import Architecture, input_shape_of

every_architecture = pytest.mark.parametrize("name", sorted(ARCHITECTURES))


def build(name, **args):
    return Architecture(name, args).build().eval()


def example(model, batch=2):
    return torch.randn(batch, *model.input_shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("name", "parameters"),
    [("lenet5", 431_080), ("resnet20", 269_722), ("resnet32", 464_154), ("resnet44", 658_586), ("resnet56", 853_018)],
)
def test_parameters_are_those_of_the_papers(name, parameters):
    assert count_parameters(build(name)) == parameters


# Positions of the output times kernel size times channels, added up by hand.
LENET5 = 24 * 24 * 25 * 20 + 8 * 8 * 25 * 20 * 50 + 800 * 500 + 500 * 10
RESNET20 = (
    32 * 32 * 9 * (3 * 16 + 6 * 16 * 16)
    + 16 * 16 * 9 * (16 * 32 + 5 * 32 * 32)
    + 8 * 8 * 9 * (32 * 64 + 5 * 64 * 64)
    + 64 * 10
)


@pytest.mark.parametrize(("name", "macs"), [("lenet5", LENET5), ("resnet20", RESNET20)])
def test_macs_are_those_of_the_layers(name, macs):
    model = build(name)
    assert count_macs(model, example(model)) == macs


@pytest.mark.parametrize(("macs", "published"), [(LENET5, 2_293_000), (RESNET20, 40_550_000)])
def test_macs_of_the_layers_are_those_published(macs, published):
    assert macs == pytest.approx(published, rel=1e-3)


@every_architecture
def test_outputs_have_one_logit_per_class_for_every_sample(name):
    model = build(name, num_classes=7)
    assert model(example(model, batch=3)).shape == (3, 7)


@every_architecture
def test_number_of_channels_is_an_argument_and_declared(name):
    model = build(name, in_channels=2)
    assert model.input_shape[0] == 2
    assert model(example(model)).shape[0] == 2


@every_architecture
def test_input_shape_is_channels_height_and_width(name):
    model = build(name)
    assert input_shape_of(model) == model.input_shape
    assert len(model.input_shape) == 3


@every_architecture
def test_random_weights_give_finite_outputs_that_differ_between_samples(name):
    model = build(name)
    one, other = model(example(model))
    assert one.isfinite().all()
    assert not torch.equal(one, other)


@every_architecture
def test_every_parameter_gets_a_gradient(name):
    model = build(name).train()
    model(example(model)).square().sum().backward()
    assert [key for key, parameter in model.named_parameters() if parameter.grad is None] == []


@every_architecture
def test_first_line_of_the_factory_says_what_it_is(name):
    module, attribute = ARCHITECTURES[name].split(":")
    factory = getattr(__import__(module, fromlist=[attribute]), attribute)
    assert factory.__doc__.strip().endswith(".")


def test_shortcut_takes_every_second_pixel_and_pads_the_channels_on_both_sides():
    block = build("resnet20").layer2[0]
    x = torch.randn(1, 16, 8, 8, generator=torch.Generator().manual_seed(0))
    out = block.shortcut(x)
    assert out.shape == (1, 32, 4, 4)
    assert torch.equal(out[:, 8:24], x[:, :, ::2, ::2])
    assert not out[:, :8].any()
    assert not out[:, 24:].any()


def test_depth_of_a_resnet_is_its_name():
    depth = {name: int(name.removeprefix("resnet")) for name in ARCHITECTURES if name.startswith("resnet")}
    layers = {name: sum(isinstance(m, nn.Conv2d | nn.Linear) for m in build(name).modules()) for name in depth}
    assert layers == depth
