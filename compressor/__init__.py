"""Makes trained PyTorch networks smaller and faster, and checks that their outputs stay equal.

The names below are imported when first used, so that ``compress --help`` does not wait for torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from compressor.benchmarking import benchmark
    from compressor.checkpoints import load, save
    from compressor.computed_weights import fold_weights
    from compressor.data import load_data
    from compressor.export import export_onnx
    from compressor.inputs import Examples
    from compressor.shrinking import shrink
    from compressor.splitting import PaperSplitting, Slimming, Splitting, SplittingConfig
    from compressor.stages.evaluate import evaluate
    from compressor.stages.fine_tune import fine_tune
    from compressor.stages.inspect import inspect
    from compressor.stages.recover import recover
    from compressor.teaching import teach
    from compressor.training.batchnorm import reestimate
    from compressor.training.objective import distilled
    from compressor.training.recipe import Recipe
    from compressor.training.states import States

__all__ = [
    "Examples",
    "PaperSplitting",
    "Recipe",
    "Slimming",
    "Splitting",
    "SplittingConfig",
    "States",
    "__version__",
    "benchmark",
    "distilled",
    "evaluate",
    "export_onnx",
    "fine_tune",
    "fold_weights",
    "inspect",
    "load",
    "load_data",
    "recover",
    "reestimate",
    "save",
    "shrink",
    "teach",
]

_HOME = {
    "Examples": "compressor.inputs",
    "PaperSplitting": "compressor.splitting",
    "Recipe": "compressor.training.recipe",
    "Slimming": "compressor.splitting",
    "Splitting": "compressor.splitting",
    "SplittingConfig": "compressor.splitting",
    "States": "compressor.training.states",
    "benchmark": "compressor.benchmarking",
    "distilled": "compressor.training.objective",
    "evaluate": "compressor.stages.evaluate",
    "export_onnx": "compressor.export",
    "fine_tune": "compressor.stages.fine_tune",
    "fold_weights": "compressor.computed_weights",
    "inspect": "compressor.stages.inspect",
    "load": "compressor.checkpoints",
    "load_data": "compressor.data",
    "recover": "compressor.stages.recover",
    "reestimate": "compressor.training.batchnorm",
    "save": "compressor.checkpoints",
    "shrink": "compressor.shrinking",
    "teach": "compressor.teaching",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'compressor' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)
