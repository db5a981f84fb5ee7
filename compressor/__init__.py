"""Makes trained PyTorch networks smaller and faster, and proves it.

The names below are imported when first used, so that ``compress --help`` does not wait for torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from compressor.benchmarking import benchmark
    from compressor.checkpoints import load, save
    from compressor.export import export_onnx
    from compressor.shrinking import shrink
    from compressor.splitting import Splitting

__all__ = ["Splitting", "__version__", "benchmark", "export_onnx", "load", "save", "shrink"]

_HOME = {
    "Splitting": "compressor.splitting",
    "benchmark": "compressor.benchmarking",
    "export_onnx": "compressor.export",
    "load": "compressor.checkpoints",
    "save": "compressor.checkpoints",
    "shrink": "compressor.shrinking",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'compressor' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)
