"""An exported file in the place of the network that it was made of."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from math import prod
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from compressor.benchmarking.onnx_file import stored_bytes
from compressor.benchmarking.process import Zeros
from compressor.checkpoints import Network
from compressor.data.feeds import Data
from compressor.data.loaders import Loaders
from compressor.data.samples import DataSet
from compressor.errors import CheckpointError
from compressor.export.flat import by_name
from compressor.inputs import Examples, arguments
from compressor.onnx_safety import read_model
from compressor.process_memory import bounded
from compressor.runtime import InferenceSession, open_session, why
from compressor.structures import mapped, tensors

IMAGES = 256  # given to ONNX Runtime at once


@contextmanager
def onnx_model(path: Path, data: Data, like: Network | None = None) -> Iterator[nn.Module]:
    """The file as a module that runs in ONNX Runtime on the CPU, with memory for batches of ``data``."""
    external = read_model(path).external
    with bounded(stored_bytes(path, external), fed=_fed(data)):
        yield _OnnxModel(path, like, single=isinstance(data, DataSet) and like is None)


def given_by(data: Loaders) -> tuple[Zeros, ...]:
    """What a file is given of a batch."""
    args, kwargs = arguments(data.task.inputs(data.first["test"]))
    named = [("_".join(map(str, path)) if kwargs else "", tensor) for path, tensor in tensors(kwargs or args)]
    return tuple(Zeros(name, str(tensor.dtype).removeprefix("torch."), tuple(tensor.shape)) for name, tensor in named)


def _fed(data: Data) -> int:
    """Bytes of what is given at once."""
    if isinstance(data, Loaders):
        return sum(tensor.nbytes for _, tensor in tensors(data.first["test"]))
    return 4 * min(IMAGES, len(data.test)) * prod(data.input_shape)


class _OnnxModel(nn.Module):
    def __init__(self, path: Path, like: Network | None, *, single: bool) -> None:
        super().__init__()
        self._path, self._like, self._single = path, like, single
        self._session: InferenceSession = open_session(path, checked=True)
        self._returned = None if like is None or like.metadata.outputs else like.try_input()

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What the network returns: the tensors of the file in the same places."""
        names = [entry.name for entry in self._session.get_inputs()]
        given = self._named(args, kwargs, names)
        try:
            fed = {name: given[name].cpu().numpy() for name in names if name in given}
            results = self._session.run(None, fed)[: 1 if self._single else None]
            for result in results:
                if not result.size or result.dtype.kind not in "fiub":
                    raise ValueError(f"it returns {result.dtype} of shape {result.shape}, no class scores")
            said = [torch.from_numpy(result) for result in results]
        except Exception as error:  # ONNX Runtime raises its own kinds
            raise CheckpointError(f"{self._path} does not accept these {self._what(args)}: {why(error)}") from error
        left = iter(said)
        if self._returned is not None and len([*tensors(self._returned)]) == len(said):
            return mapped(self._returned, lambda _: next(left))
        outputs = [entry.name for entry in self._session.get_outputs()]
        if not self._single and not any(name.startswith("output") for name in outputs):
            return dict(zip(outputs, said, strict=True))  # the network returned them by these keys
        return said[0] if len(said) == 1 else tuple(said)

    def _named(self, args: tuple[Any, ...], kwargs: dict[str, Any], names: list[str]) -> dict[str, Tensor]:
        """The tensors by the names of the file's inputs."""
        call = kwargs or (args[0] if len(args) == 1 else args)
        if self._like is not None:
            return by_name(self._like.model, Examples(call))
        if kwargs:
            return {"_".join(map(str, path)): tensor for path, tensor in tensors(kwargs)}
        return dict(zip(names, (tensor for _, tensor in tensors(args)), strict=False))

    def _what(self, args: tuple[Any, ...]) -> str:
        return "images" if len(args) == 1 and isinstance(args[0], Tensor) and args[0].ndim == 4 else "inputs"
