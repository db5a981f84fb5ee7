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
    """Those that a torchvision built for another torch lacks."""
    try:
        import_module("torchvision")
    except ImportError:
        return
    except RuntimeError:
        for name in ("nms", "qnms"):
            torch.library.define(f"torchvision::{name}", "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        vars(import_module("torchvision.ops"))["nms"] = _nms


def _nms(boxes, scores, threshold):
    """The boxes (n, 4) that overlap none of a higher score by more than the threshold."""
    kept, order = [], scores.argsort(descending=True).tolist()
    for place in order:
        low = torch.maximum(boxes[kept, :2], boxes[place, :2])
        sides = (torch.minimum(boxes[kept, 2:], boxes[place, 2:]) - low).clamp(min=0)
        both = sides.prod(1)
        areas = (boxes[:, 2:] - boxes[:, :2]).prod(1)
        if not (both / (areas[kept] + areas[place] - both) > threshold).any():
            kept.append(place)
    return torch.tensor(kept, dtype=torch.int64)
