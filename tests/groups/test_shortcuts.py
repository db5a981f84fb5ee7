"""Which modules of users are taken for shortcuts that pad channels."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from compressor.architectures.cifar_resnet import PaddedShortcut
from compressor.surgery.replacements import equal_shortcuts

IMAGE = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))


class Lambda(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


def after(function):
    return nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), Lambda(function))


@pytest.mark.parametrize(("before", "behind", "step"), [(0, 4, 1), (2, 2, 2), (4, 0, 3)])
def test_the_widths_of_a_shortcut_of_the_users_own_are_found(before, behind, step):
    pad = (0, 0, 0, 0, before, behind)
    model = after(lambda x: nn.functional.pad(x[:, :, ::step, ::step], pad))
    (shortcut,) = equal_shortcuts(model, IMAGE).values()
    assert (shortcut.before, shortcut.after, shortcut.step) == (before, behind, step)


def test_a_module_that_turns_axes_is_not_tried(monkeypatch):
    """The hundreds of widths that a larger axis suggests would take minutes in ConvNeXt."""
    monkeypatch.setattr(PaddedShortcut, "forward", lambda *_: pytest.fail("tried"))
    assert equal_shortcuts(after(lambda x: x.permute(0, 2, 3, 1)), IMAGE) == {}
