"""HESSO of OTO 3.0.1 (only-train-once), where it runs: its optimiser in this project's training loop, its removal.

    pip install --no-deps only-train-once graphviz pydot pyparsing

Two names and a module of torch.onnx that it needs are put where this torch no longer has them. It calls ``.cuda()``,
whether there is a GPU or not, and ``view`` on weights, which the layout that is faster on a CPU does not allow.
"""

from __future__ import annotations

import contextlib
import io
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from peer_cells import Cell, Key, stopwatch
from peer_rivals import ROUND_TO
from peer_training import Bench
from torch import Tensor, nn
from torch.nn import functional as F
from torch.onnx._internal.torchscript_exporter import _globals, utils
from torch.optim import Optimizer

from compressor.data.batches import normalized
from compressor.errors import UsageError, first_line
from compressor.training.recipe import Recipe

# Which share of the groups leaves the MACs that were asked for is found by so many halvings, on the dense network.
HALVINGS = 7
# The share of the sparse training before which nothing is pruned, and after which everything is.
BEGIN, END = 0.1, 0.5


def _hesso() -> Any:
    """The class OTO; `UsageError` where it is not installed."""
    sys.modules.setdefault("torch.onnx._globals", _globals)
    for name, found in (("_optimize_graph", utils._optimize_graph), ("OperatorExportTypes", _kinds())):
        if not hasattr(torch.onnx, name):
            setattr(torch.onnx, name, found)
    try:
        from only_train_once import OTO
        from only_train_once.transform import tensor_transform
    except ModuleNotFoundError as error:
        raise UsageError(f"hesso needs only-train-once, graphviz, pydot and pyparsing: {error}") from error
    tensor_transform.basic_transformation = lambda tensor, groups: tensor.reshape(groups, -1)
    return OTO


def _kinds() -> Any:
    from torch._C._onnx import OperatorExportTypes

    return OperatorExportTypes


@contextlib.contextmanager
def _on_this_device() -> Iterator[None]:
    """Without what it prints, and with tensors that stay where they are."""
    original = Tensor.cuda
    Tensor.cuda = lambda tensor, *_, **__: tensor  # type: ignore[assignment, method-assign, return-value]
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        Tensor.cuda = original  # type: ignore[method-assign]


def graph(model: nn.Module, bench: Bench) -> Any:
    """OTO around ``model``."""
    with _on_this_device():
        return _hesso()(model, bench.dense.example_input())


def subnet(oto: Any) -> nn.Module:
    """The network without its zero groups, which OTO writes as a pickle."""
    with tempfile.TemporaryDirectory() as folder, _on_this_device():
        oto.construct_subnet(out_dir=folder)
        # It was written a moment ago, by this process.
        small = torch.load(Path(oto.compressed_model_path), weights_only=False)
    return small.eval()  # type: ignore[no-any-return]


def optimizer(oto: Any, recipe: Recipe, sparsity: float, begin: int, steps: int) -> Optimizer:
    """HESSO on SGD with the recipe's rate, momentum and weight decay."""
    made: Optimizer = oto.hesso(
        variant="sgd",
        lr=recipe.learning_rate,
        first_momentum=recipe.momentum,
        weight_decay=recipe.weight_decay,
        target_group_sparsity=sparsity,
        start_pruning_step=begin,
        pruning_periods=1,
        pruning_steps=steps,
        group_divisible=ROUND_TO,
    )
    return made


def at_once(bench: Bench, sparsity: float) -> nn.Module:
    """The dense network without that share of its groups, chosen by one batch, nothing trained."""
    model, train = bench.copy(), bench.data.train
    oto = graph(model, bench)
    with _on_this_device():
        made = optimizer(oto, bench.plan(0).recipe, sparsity, 1, 1)
        for group in made.param_groups:
            group["lr"] = 0.0
        images = normalized(train.images[: bench.subject.batch_size], bench.dense.metadata.normalization)
        for _ in range(3):
            made.zero_grad()
            F.cross_entropy(model(images), train.labels[: len(images)]).backward()
            made.step()
    return subnet(oto)


def sparsity_for(bench: Bench, share: float) -> float:
    """The least share of the groups, found by halvings, without which at most ``share`` of the MACs is left.

    `UsageError` with what HESSO says where it cannot prune the network.
    """
    low, high = 0.0, 0.98
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        try:
            left = bench.macs(at_once(bench, middle))
        except (RuntimeError, IndexError, KeyError) as error:  # its verdict
            raise UsageError(f"hesso fails on {bench.name}: {type(error).__name__}: {first_line(error)}") from None
        enough = left <= share * bench.macs(bench.dense.model)
        low, high = (low, middle) if enough else (middle, high)
    return high


@dataclass(frozen=True, kw_only=True)
class Hesso(Recipe):
    """A recipe whose optimiser is HESSO."""

    build: Callable[[], Optimizer]

    def build_optimizer(self, model: nn.Module) -> Optimizer:
        """HESSO, around the model that it was made for."""
        return self.build()


def run(key: Key, bench: Bench, results: Path) -> Cell:
    """One cell: sparse training with HESSO, removal, recovery without."""
    sparse, recovery = bench.phases(key.seed)
    with stopwatch() as spent:
        sparsity = sparsity_for(bench, 1 / key.target)
    untrained = bench.accuracy(at_once(bench, sparsity))
    model = bench.copy()
    oto, recipe = graph(model, bench), sparse
    steps = recipe.steps(len(bench.data.train))
    begin, during = int(BEGIN * steps), int((END - BEGIN) * steps)
    hesso = Hesso(**vars(recipe), build=lambda: optimizer(oto, recipe, sparsity, begin, during))
    with _on_this_device():
        seconds = bench.train(model, hesso)
    sparse = bench.accuracy(model)
    with stopwatch() as took:
        model = subnet(oto)
    removed = bench.accuracy(model)
    seconds += bench.train(model, recovery) + bench.asked(key.seed)[1]
    return bench.cell(
        key,
        model,
        key.path(results, ".onnx"),
        sum((spent[0], took[0]), start=seconds),
        {"untrained": untrained, "sparse": sparse, "removed": removed},
        {
            "round_to": ROUND_TO,
            "sparsity": sparsity,
            "begin": BEGIN,
            "end": END,
            "only-train-once": version("only-train-once"),
        },
    )
