"""Training-only parts of a network, auxiliary classifiers for example."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from compressor.equivalence import Inputs, all_outputs, eval_mode, outputs
from compressor.hooks import hooked


@torch.no_grad()
def training_switches(model: nn.Module, inputs: Inputs) -> tuple[str, ...]:
    """The modules that run parts of the network in train mode that are left out in eval mode.

    Empty where the network fails in training, for want of targets say, or is random there.
    """
    with _called(model) as in_eval:
        outputs(model, inputs)
    holders = {name for name, module in model.named_modules() if next(module.parameters(False), None) is not None}
    switches = sorted({above for name in holders - in_eval for above in _ancestors(name)})
    if not switches:
        return ()
    try:
        with _called(model) as in_training:
            first = training_outputs(model, inputs, switches)
        again = training_outputs(model, inputs, switches) if in_training - in_eval else []
    except Exception:  # whatever the network's code raises without its targets
        return ()
    same = len(first) == len(again) and all(torch.equal(one, other) for one, other in zip(first, again, strict=True))
    return tuple(switches) if same else ()


@torch.no_grad()
def training_outputs(model: nn.Module, inputs: Inputs, switches: Sequence[str]) -> list[Tensor]:
    """All output tensors with only ``switches`` in train mode, so that norms and dropout stay as they are.

    An empty list without switches.
    """
    if not switches:
        return []
    with eval_mode(model):
        for name in switches:
            model.get_submodule(name).training = True
        return all_outputs(model, inputs)


def _ancestors(name: str) -> list[str]:
    parts = name.split(".")
    return [".".join(parts[:depth]) for depth in range(len(parts))]


@contextlib.contextmanager
def _called(model: nn.Module) -> Iterator[set[str]]:
    """The names of the modules that are called inside the block."""
    names: set[str] = set()

    def note(name: str) -> Any:
        return lambda module, args: names.add(name)

    with hooked(module.register_forward_pre_hook(note(name)) for name, module in model.named_modules()):
        yield names
