"""What every exporter needs: the network on the CPU, silence, and files that are whole or not there."""

from __future__ import annotations

import contextlib
import io
import logging
import shutil
import warnings
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import nn

from compressor.equivalence import eval_mode
from compressor.files import atomic_path


@contextlib.contextmanager
def on_cpu(model: nn.Module) -> Iterator[None]:
    """In eval mode and on the CPU; modes and device are restored."""
    device = next((parameter.device for parameter in model.parameters()), torch.device("cpu"))
    with eval_mode(model):
        model.cpu()
        try:
            yield
        finally:
            model.to(device)


def publish(draft: Path, path: Path) -> None:
    """Move a draft and what lies beside it to where ``path`` is: weights first, each file whole or not at all."""
    for part in sorted(draft.parent.iterdir(), key=lambda part: part == draft):
        with atomic_path(path.parent / part.name) as temporary:
            shutil.copyfile(part, temporary)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """The exporters print, warn and log about their own insides."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with (
            warnings.catch_warnings(),
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(io.StringIO()),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)
