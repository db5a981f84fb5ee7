"""What torch.save wrote: the objects in it, with tensors, and classes, that nobody expects."""

from __future__ import annotations

import argparse
import collections
import io
import os
import pickle
import types
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from hypothesis import strategies as st

from fuzz import values
from fuzz.formats import headers
from fuzz.trees import Aims


class _Calls:
    """Unpickled, it calls a function."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.function, self.arguments = function, arguments

    def __reduce__(self) -> tuple[Any, ...]:
        return self.function, self.arguments


def _namespace() -> Any:
    return argparse.Namespace(lr=0.1, layers=[1, 2], name="\x1b[31mred")


# By name, so that a case stays plain data.
OBJECTS: dict[str, Callable[[], Any]] = {
    "empty": lambda: torch.zeros(0),
    "scalar": lambda: torch.tensor(1.5),
    "nan": lambda: torch.full((8, 1, 3, 3), float("nan")),
    "stride 0": lambda: torch.zeros(1).expand(2**33),
    "stride 0, 4D": lambda: torch.zeros(1, 1, 1, 1).expand(2**12, 2**11, 8, 8),
    "complex": lambda: torch.zeros(8, 1, 3, 3, dtype=torch.complex64),
    "half": lambda: torch.zeros(8, 1, 3, 3, dtype=torch.float16),
    "float8": lambda: torch.zeros(8).to(torch.float8_e4m3fn),
    "integers": lambda: torch.zeros(8, dtype=torch.int64),
    "booleans": lambda: torch.zeros(8, dtype=torch.bool),
    "sparse": lambda: torch.eye(4).to_sparse(),
    "sparse, huge": lambda: torch.sparse_coo_tensor(torch.zeros(2, 1).long(), torch.ones(1), (2**31, 2**31)),
    "csr": lambda: torch.eye(4).to_sparse_csr(),
    "nested": lambda: torch.nested.nested_tensor([torch.zeros(2), torch.zeros(3)]),
    "quantized": lambda: torch.quantize_per_tensor(torch.zeros(8), 0.1, 0, torch.qint8),
    "meta": lambda: torch.zeros(8, device="meta"),
    "parameter": lambda: torch.nn.Parameter(torch.zeros(8)),
    "transposed": lambda: torch.zeros(3, 5).t(),
    "negative": lambda: torch.zeros(8, dtype=torch.complex64).conj().imag,
    "numpy scalar": lambda: np.float64(1.0),
    "numpy array": lambda: np.zeros(3),
    "ordered": lambda: collections.OrderedDict(a=torch.zeros(3)),
    "default dict": lambda: collections.defaultdict(list),
    "counter": lambda: collections.Counter("aab"),
    "namespace": _namespace,
    "simple namespace": lambda: types.SimpleNamespace(a=1),
    "module": lambda: torch.nn.Linear(2, 2),
    "size": lambda: torch.Size([1, 2]),
    "dtype": lambda: torch.float32,
    "device": lambda: torch.device("cpu"),
    "set": lambda: {1, 2},
    "tuple": lambda: (1, (2, torch.zeros(2))),
    "bytes": lambda: b"\x00\xff\x1b[31m",
    "complex number": lambda: 1 + 2j,
    "ellipsis": lambda: ...,
    "path": lambda: __import__("pathlib").PosixPath("/etc/passwd"),
    "system": lambda: _Calls(os.system, 'touch "$FUZZ_CANARY"'),
    "eval": lambda: _Calls(eval, "__import__('os').system('touch \"$FUZZ_CANARY\"')"),
    "exec": lambda: _Calls(exec, "open(__import__('os').environ['FUZZ_CANARY'], 'w')"),
    "open": lambda: _Calls(open, "escape", "w"),
    "getattr": lambda: _Calls(getattr, os, "environ"),
    "torch.load": lambda: _Calls(torch.load, "/dev/zero"),
    "torch.compile": lambda: _Calls(torch.hub.load, "x/y", "z"),
    "bytearray": lambda: _Calls(bytearray, 2**33),
    "cycle": lambda: _cycle(),
}


def _cycle() -> Any:
    loop: dict[str, Any] = {}
    loop["self"] = loop
    return loop


class Pickled:
    """The objects in a checkpoint."""

    def read(self, content: bytes) -> Any:
        """Load it; ours holds tensors and plain data alone."""
        return _mutable(torch.load(io.BytesIO(content), weights_only=True))

    def write(self, tree: Any) -> bytes:
        """Save it, whatever it holds; what cannot be saved in torch's way as a bare pickle."""
        buffer = io.BytesIO()
        with warnings.catch_warnings(action="ignore"):
            try:
                torch.save(tree, buffer)
            except (RuntimeError, NotImplementedError, pickle.PicklingError, TypeError, AttributeError):
                return _without_tensors(tree)
        return buffer.getvalue()

    def values(self) -> st.SearchStrategy[Any]:
        """Those of JSON, and objects by name."""
        return st.one_of(values.hostile(), tensors_and_classes())

    def aims(self) -> Aims:
        """The header of our own files, and tensors."""
        return (
            *headers.aims("header"),
            ("(state|net|model|state_dict)/.*", tensors_and_classes()),
            ("header/.*", tensors_and_classes()),
        )

    def made(self, value: Any) -> Any:
        """An object by its name, also inside of others."""
        if isinstance(value, dict):
            if value.get("$") == "object":
                with warnings.catch_warnings(action="ignore"):
                    return OBJECTS[value["name"]]()
            return {key: self.made(entry) for key, entry in value.items()}
        return [self.made(entry) for entry in value] if isinstance(value, list) else value


def tensors_and_classes() -> st.SearchStrategy[Any]:
    """Objects by their names."""
    return st.sampled_from(sorted(OBJECTS)).map(lambda name: {"$": "object", "name": name})


def _without_tensors(tree: Any) -> bytes:
    try:
        return pickle.dumps(tree)
    except Exception:
        return pickle.dumps(repr(tree)[:1000])


def _mutable(tree: Any) -> Any:
    if isinstance(tree, dict):
        return {key: _mutable(value) for key, value in tree.items()}
    return [_mutable(value) for value in tree] if isinstance(tree, list | tuple) else tree
