"""Networks whose channels cannot be looked for at all, each with what to do."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from compressor.errors import UsageError, first_line


def refuse(model: nn.Module) -> None:
    """Raise `UsageError` for a network with TorchScript in it, with lazy layers, or that cannot be copied."""
    for name, module in model.named_modules():
        if isinstance(module, torch.jit.ScriptModule):
            what = f"{name} is" if name else "the network is"
            raise UsageError(
                f"{what} TorchScript ({type(module).__name__}), which hides the layers; "
                "give the Python module that was scripted or traced, with these weights loaded into it"
            )
        if any(is_lazy(parameter) for parameter in module.parameters(recurse=False)):
            raise UsageError(f"the sizes of {name or 'the network'} are not known yet; run the network once before")
    if (failure := _failure(model)) is not None:
        raise UsageError(
            f"the network cannot be copied ({_holder(model)}{type(failure).__name__}: {first_line(failure)}); "
            "what is no tensor and no plain data may be made when it is needed, or given a __deepcopy__"
        )


def _failure(what: Any) -> Exception | None:
    """What copying raises; tensors are left out, since they can be large and can be copied."""
    modules = list(what.modules()) if isinstance(what, nn.Module) else []
    kept = [value for module in modules for value in vars(module).values() if isinstance(value, torch.Tensor)]
    kept += [tensor for module in modules[:1] for tensor in (*module.parameters(), *module.buffers())]
    try:
        copy.deepcopy(what, {id(tensor): tensor for tensor in kept})
    except Exception as error:  # whatever an object raises that is none of ours
        return error
    return None


def _holder(model: nn.Module) -> str:
    """The attribute that cannot be copied, as the beginning of a reason."""
    for name, module in model.named_modules():
        for attribute, value in vars(module).items():
            if not attribute.startswith("_") and not isinstance(value, torch.Tensor) and _failure(value) is not None:
                return f"{name}.{attribute}: ".lstrip(".")
    return ""
