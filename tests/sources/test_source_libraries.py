from __future__ import annotations

import sys
from types import ModuleType

import pytest
from torch import nn

from compressor.errors import UnknownName, UsageError
from compressor.sources import Architecture, input_shape_of


@pytest.mark.parametrize(("source", "name"), [("torchvision", "resnet18"), ("timm", "resnet50")])
def test_missing_library_is_told_with_how_to_install_it(monkeypatch, source, name):
    monkeypatch.setitem(sys.modules, source, None)
    expected = rf"{source}:{name} needs {source}, which cannot be imported .*pip install 'torch-compressor\[{source}\]'"
    with pytest.raises(UsageError, match=expected):
        Architecture(f"{source}:{name}").build()


def small(num_classes=5, **_):
    if not isinstance(num_classes, int):
        raise TypeError("num_classes must be an integer")
    return nn.Linear(2, num_classes)


def segmenting(weights_backbone="trained"):
    network = nn.Linear(2, 2)
    network.backbone = weights_backbone
    return network


def module(name, **members):
    made = ModuleType(name)
    vars(made).update(members)
    return made


@pytest.fixture
def libraries(monkeypatch):
    """Stand-ins for both libraries, with the few functions that are called."""
    builders = {"small": small, "inception_small": small, "segmenting": segmenting}
    models = module(
        "torchvision.models",
        list_models=lambda: list(builders),
        get_model_builder=builders.get,
        get_model=lambda name, weights, **args: builders[name](**args),
    )
    timm = module(
        "timm",
        is_model=lambda name: name == "small",
        list_models=lambda: ["small"],
        create_model=lambda name, pretrained, **args: small(**args),
    )
    for library in (module("torchvision", models=models), models, timm):
        monkeypatch.setitem(sys.modules, library.__name__, library)


@pytest.mark.usefixtures("libraries")
@pytest.mark.parametrize("source", ["torchvision", "timm"])
def test_library_model_is_built_with_its_arguments_and_without_trust(source):
    assert Architecture(f"{source}:small", {"num_classes": 3}).build().out_features == 3


@pytest.mark.usefixtures("libraries")
@pytest.mark.parametrize("source", ["torchvision", "timm"])
def test_unknown_library_model_suggests_the_nearest(source):
    with pytest.raises(UnknownName, match=f"no {source} model is called 'smal'. Did you mean 'small'"):
        Architecture(f"{source}:smal").build()


@pytest.mark.usefixtures("libraries")
@pytest.mark.parametrize("source", ["torchvision", "timm"])
def test_library_model_that_fails_is_told_in_one_line(source):
    with pytest.raises(UsageError, match=rf"{source}:small failed with \(num_classes='x'\): TypeError: num_classes"):
        Architecture(f"{source}:small", {"num_classes": "x"}).build()


@pytest.mark.usefixtures("libraries")
def test_no_trained_backbone_is_fetched():
    assert Architecture("torchvision:segmenting").build().backbone is None


@pytest.mark.usefixtures("libraries")
@pytest.mark.parametrize(("name", "side"), [("small", 224), ("inception_small", 299)])
def test_torchvision_model_declares_its_input_shape(name, side):
    assert input_shape_of(Architecture(f"torchvision:{name}").build()) == (3, side, side)


def test_input_shape_of_a_timm_model_is_read_from_its_configuration():
    network = nn.Linear(2, 2)
    vars(network)["default_cfg"] = {"input_size": (3, 64, 64)}
    assert input_shape_of(network) == (3, 64, 64)
