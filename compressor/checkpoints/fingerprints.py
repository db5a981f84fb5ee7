"""Hashes that say whether two networks or data sets are the same."""

from __future__ import annotations

import hashlib
import inspect
import re
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from compressor import __version__
from compressor.checkpoints import Network
from compressor.data.feeds import Data
from compressor.data.loaders import Loaders
from compressor.tasks.base import Task
from compressor.tasks.classification import CLASSIFICATION


def fingerprint(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 of names and contents, in their order."""
    digest = hashlib.sha256()
    for name, tensor in tensors.items():
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def data_fingerprint(data: Data) -> str:
    """SHA-256 of the images and labels of all three parts; of a user's batches of their code and the first ones.

    Images that are not in memory are not all read for it: see `compressor.data.streaming.StreamedImages.identity`.
    """
    if isinstance(data, Loaders):
        return data.fingerprint
    parts = {"train": data.train, "val": data.val, "test": data.test}
    return fingerprint({f"{name}.{kind}": x for name, part in parts.items() for kind, x in part.identity().items()})


def task_fingerprint(task: Task) -> str | None:
    """What a task is: its options and the file that defines it; None of classification as it always was."""
    if task == CLASSIFICATION:
        return None
    options = _without_addresses(dict(sorted(vars(task).items())))
    digest = hashlib.sha256(f"{type(task).__qualname__} {options}\n".encode())
    digest.update(_source(type(task)))
    return digest.hexdigest()


def module_fingerprint(model: nn.Module) -> str:
    """SHA-256 of a network without a description, for example a teacher: its modules, their files and its weights."""
    digest = hashlib.sha256(f"{_without_addresses(model)}\n{fingerprint(model.state_dict())}\n".encode())
    for source in _sources(model):
        digest.update(source)
    return digest.hexdigest()


def architecture_fingerprint(network: Network) -> str:
    """SHA-256 of what a network is beside its weights.

    That is its architecture's name and arguments, its modules and the files that define them, the shape of its input or
    what it is called with instead, which of its outputs count, which parameters are trained, and the versions of torch
    and of this package.
    """
    known, model = network.metadata, network.model
    trained = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
    digest = hashlib.sha256()
    for part in (__version__, torch.__version__, known.architecture, known.input_shape, model, trained):
        digest.update(f"{_without_addresses(part)}\n".encode())
    if known.examples or known.outputs:
        held = known.example_tensors()
        digest.update(f"{known.to_plain(()).get('examples')}\n{known.outputs}\n{fingerprint(held)}\n".encode())
    for source in _sources(model):
        digest.update(source)
    return digest.hexdigest()


def _without_addresses(value: object) -> str:
    """What ``value`` prints as, the same in every process: a function in a module prints where it lies in memory."""
    return re.sub(r" at 0x[0-9a-fA-F]+", "", str(value))


def _sources(model: nn.Module) -> list[bytes]:
    return sorted({_source(type(module)) for module in model.modules()})


def _source(kind: type) -> bytes:
    """The file that defines a kind of module or task; its name where there is none."""
    try:
        return Path(inspect.getfile(kind)).read_bytes()
    except (OSError, TypeError):
        return kind.__qualname__.encode()
