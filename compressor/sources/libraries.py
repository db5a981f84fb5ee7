"""Networks of torchvision and timm, which are optional."""

from __future__ import annotations

import inspect
from functools import partial
from typing import Any

from compressor.errors import UnknownName, UsageError
from compressor.sources.factory import call


def build_timm(name: str, args: dict[str, Any]) -> Any:
    """A timm model with random weights."""
    try:
        import timm
    except (ImportError, RuntimeError) as error:
        raise UsageError(
            f"timm:{name} needs timm, which cannot be imported ({error}); pip install 'torch-compressor[timm]'"
        ) from error
    if not timm.is_model(name):
        raise UnknownName("timm model", name, timm.list_models())
    return call(partial(timm.create_model, name, pretrained=False), f"timm:{name}", args)


def build_torchvision(name: str, args: dict[str, Any]) -> Any:
    """A torchvision model with random weights; classifiers take 224x224 RGB images unless said otherwise."""
    try:
        from torchvision import models
    except (ImportError, RuntimeError) as error:
        raise UsageError(
            f"torchvision:{name} needs torchvision, which cannot be imported ({error}); "
            "pip install 'torch-compressor[torchvision]'"
        ) from error
    known = models.list_models()
    if name not in known:
        raise UnknownName("torchvision model", name, known)
    # Detection and segmentation networks would fetch a trained backbone.
    backbone = "weights_backbone" in inspect.signature(models.get_model_builder(name)).parameters
    none = {"weights": None, **({"weights_backbone": None} if backbone else {})}
    network = call(partial(models.get_model, name, **none), f"torchvision:{name}", args)
    network.input_shape = (3, 299, 299) if name.startswith("inception") else (3, 224, 224)
    return network
