"""The network compiled by torch for its training, with what can go wrong in one line."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

import torch
from torch import nn

from compressor.errors import UsageError

BACKEND = "inductor"


def compiled(model: nn.Module) -> nn.Module:
    """``model`` behind `torch.compile`: the same parameters.

    What is done around a step, penalties and selections among it, are hooks of the optimiser, outside of what is
    compiled; no CUDA graph is made, in which they would not run.
    """
    with _own_warnings():
        return cast(nn.Module, torch.compile(model, backend=BACKEND))


@contextmanager
def compiling() -> Iterator[None]:
    """In this block a compiled network runs, which it is compiled for at first: `UsageError` where that fails."""
    from torch._dynamo.exc import TorchDynamoException  # takes a second, which only those wait who compile

    try:
        with _own_warnings():
            yield
    except Exception as error:
        cause = error.__cause__ or error
        if not isinstance(cause, TorchDynamoException):
            raise
        inner = getattr(cause, "inner_exception", cause)
        reason = next((line.strip() for line in str(inner).splitlines() if line.strip()), "no reason given")
        raise UsageError(
            f"--compile: torch cannot compile this network here ({type(inner).__name__}: {reason}); leave it out"
        ) from error


@contextmanager
def _own_warnings() -> Iterator[None]:
    """Without what torch says of parts of torch that it uses itself."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        yield
