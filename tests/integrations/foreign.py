"""Other people's libraries, where they are installed."""

from __future__ import annotations

import os
import warnings
from importlib import import_module

import pytest
import torch


def required(name):
    """The module of that name, or a skip of the tests of a file with the reason."""
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    os.environ.setdefault("YOLO_OFFLINE", "true")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        _define_operators()
        try:
            return import_module(name)
        except ImportError as error:
            return pytest.skip(f"{name} cannot be imported here: {error}", allow_module_level=True)


def _define_operators():
    """Those that a torchvision built for another torch lacks: nothing calls them in these tests."""
    try:
        import_module("torchvision")
    except ImportError:
        return
    except RuntimeError:
        for name in ("nms", "qnms"):
            torch.library.define(f"torchvision::{name}", "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
