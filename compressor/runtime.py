"""ONNX Runtime: which execution providers there are, and a session that really runs on the one asked for.

ONNX Runtime falls back to the CPU with a warning at most, so both ends are checked: the provider is available
before a session is made, and afterwards it is the session's first and has nodes to run. Torch is never imported
here, because models are timed in a process without it.

This is the only module that imports onnxruntime, which reports what it does to its makers unless it is told before.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from compressor.errors import CheckpointError, CompressorError, UnknownName, UsageError, first_line
from compressor.onnx_safety import read_model

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
import onnxruntime as ort

VERSION: str = ort.__version__
InferenceSession = ort.InferenceSession


@dataclass(frozen=True, slots=True)
class Provider:
    """One execution provider of ONNX Runtime."""

    id: str
    about: str
    options: Mapping[str, str] = field(default_factory=dict)
    preload: bool = False  # CUDA's libraries may lie in Python wheels, where the loader does not look
    memory_pattern: bool = True


PROVIDERS: dict[str, Provider] = {
    "cpu": Provider("CPUExecutionProvider", "any processor"),
    "cuda": Provider("CUDAExecutionProvider", "NVIDIA GPU", preload=True),
    "tensorrt": Provider("TensorrtExecutionProvider", "NVIDIA GPU through TensorRT", preload=True),
    "openvino": Provider("OpenVINOExecutionProvider", "Intel processors", {"device_type": "CPU"}),
    "directml": Provider("DmlExecutionProvider", "any GPU on Windows", memory_pattern=False),
    "coreml": Provider("CoreMLExecutionProvider", "Apple processors"),
    "qnn": Provider("QNNExecutionProvider", "Qualcomm neural processors"),
}


def available() -> tuple[str, ...]:
    """Names of the providers that the installed ONNX Runtime offers."""
    offered = ort.get_available_providers()
    return tuple(name for name, provider in PROVIDERS.items() if provider.id in offered)


def choose(name: str) -> Provider:
    """Return the provider called ``name``, or raise `UsageError` when this ONNX Runtime lacks it."""
    if name not in PROVIDERS:
        raise UnknownName("provider", name, PROVIDERS)
    if name not in available():
        raise UsageError(
            f"this ONNX Runtime has no provider {name}; it offers {', '.join(available())} "
            "(other providers come with other onnxruntime wheels)"
        )
    return PROVIDERS[name]


def open_session(
    path: Path, *, provider: str = "cpu", threads: int = 0, checked: bool = False, profile: Path | None = None
) -> ort.InferenceSession:
    """Open ``path`` on ``provider`` with every graph optimisation, quiet and without spinning threads.

    `read_model` checks the file first, unless it is ``checked`` already. 0 ``threads`` leave their number to ONNX
    Runtime. With ``profile`` the session notes when each of its nodes starts and ends, and ``end_profiling`` of it
    gives the path of the file, which starts with ``profile``. Raises `CheckpointError` when ONNX Runtime cannot load
    the file, `CompressorError` when it runs elsewhere.
    """
    chosen = choose(provider)
    if not checked:
        read_model(path)
    if chosen.preload and hasattr(ort, "preload_dlls"):
        ort.preload_dlls()
    try:
        session = ort.InferenceSession(
            str(path), _options(chosen, threads, profile), providers=[(chosen.id, dict(chosen.options))]
        )
    except Exception as error:  # every binding error has a type of its own, without a common base
        raise CheckpointError(f"ONNX Runtime cannot load {path}: {why(error)}") from error
    actual = session.get_providers()
    if actual[0] != chosen.id:
        raise CompressorError(f"{path} was to run on {chosen.id}, but ONNX Runtime put it on {actual[0]}")
    if not owns_nodes(session, chosen.id):
        raise CompressorError(f"{path} was to run on {chosen.id}, but it took none of its nodes")
    return session


def session_in_memory(model: bytes, *, provider: str = "cpu", threads: int = 0) -> ort.InferenceSession:
    """A session on a model of our own, as in `open_session`."""
    chosen = choose(provider)
    return ort.InferenceSession(model, _options(chosen, threads), providers=[(chosen.id, dict(chosen.options))])


def why(error: Exception) -> str:
    """What an error of ONNX Runtime says, in one line, and what helps where a model asked for too much memory."""
    said = first_line(error)
    asked_too_much = isinstance(error, MemoryError) or re.search(r"bad.?alloc|allocate memory", str(error))
    return f"it needs more memory than is allowed; --max-memory allows more ({said})" if asked_too_much else said


def owns_nodes(session: Any, provider_id: str) -> bool:
    """Whether any node was given to the provider; taken for granted before ONNX Runtime 1.24, which tells."""
    if provider_id == PROVIDERS["cpu"].id or not hasattr(session, "get_provider_graph_assignment_info"):
        return True
    return any(part.ep_name == provider_id for part in session.get_provider_graph_assignment_info())


def given_nodes(session: Any, provider_id: str) -> int | None:
    """How many nodes of the graph the provider was given; None on the CPU, and before ONNX Runtime 1.24, which tells.

    A profile does not tell: some providers compile all of their nodes into one.
    """
    if provider_id == PROVIDERS["cpu"].id or not hasattr(session, "get_provider_graph_assignment_info"):
        return None
    parts = session.get_provider_graph_assignment_info()
    return sum(len(part.get_nodes()) for part in parts if part.ep_name == provider_id)


def _options(provider: Provider, threads: int, profile: Path | None = None) -> ort.SessionOptions:
    options = ort.SessionOptions()
    if profile is not None:
        options.enable_profiling, options.profile_file_prefix = True, str(profile)
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.enable_mem_pattern = provider.memory_pattern
    options.log_severity_level = 4  # errors are raised as well, and what is logged holds names from the file
    options.add_session_config_entry("session.load_model_format", "ONNX")  # no other format was checked
    if provider.id != PROVIDERS["cpu"].id:
        options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    for pool in ("intra", "inter"):
        options.add_session_config_entry(f"session.{pool}_op.allow_spinning", "0")
    return options
