"""One layer without some of its channels: Torch-Pruning's pruners, and what they do not know."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Set
from typing import Any

import torch
import torch_pruning
from torch import Tensor, nn

from compressor.layer_kinds import CONVOLUTIONS, PLAIN_CONVOLUTIONS, TRANSPOSED, output_axis

# By the name of a tensor and by axis: the places that go.
Cuts = Mapping[str, Mapping[int, Set[int]]]
Pruner = Callable[[nn.Module, list[int]], nn.Module]


def cut(module: nn.Module, cuts: Cuts) -> None:
    """Take these places out of the tensors of ``module``, and set the sizes that it states to what is left."""
    pruners = _pruners(module)
    if pruners is None:
        _cut_tensors(module, cuts)
        _resize(module)
        return
    axes = cuts["weight"] if "weight" in cuts else next(iter(cuts.values()))
    for axis, places in axes.items():
        pruners[axis != output_axis(module)](module, sorted(places))


def _pruners(module: nn.Module) -> tuple[Pruner, Pruner] | None:
    """Torch-Pruning's functions that remove outputs and inputs, where they do what is needed here."""
    known = torch_pruning.pruner.function
    match module:
        case nn.Linear():
            return known.prune_linear_out_channels, known.prune_linear_in_channels
        case nn.modules.batchnorm._BatchNorm():
            return known.prune_batchnorm_out_channels, known.prune_batchnorm_in_channels
        case nn.PReLU():
            return known.prune_prelu_out_channels, known.prune_prelu_in_channels
        case _ if isinstance(module, PLAIN_CONVOLUTIONS) and _is_depthwise(module):
            return known.prune_depthwise_conv_out_channels, known.prune_depthwise_conv_in_channels
        case _ if isinstance(module, CONVOLUTIONS) and module.groups == 1:
            return known.prune_conv_out_channels, known.prune_conv_in_channels
    return None


def _is_depthwise(module: Any) -> bool:
    return bool(1 < module.groups == module.in_channels == module.out_channels)


def _cut_tensors(module: nn.Module, cuts: Cuts) -> None:
    bias = getattr(module, "bias", None)
    if isinstance(module, CONVOLUTIONS) and isinstance(bias, Tensor):
        # One that folding has added is in no group yet; it goes with the rows of the weight.
        cuts = {"bias": {0: cuts["weight"][0]}, **cuts}
    for name, axes in cuts.items():
        tensor = getattr(module, name)
        left = tensor.detach()
        for axis, places in axes.items():
            kept = [place for place in range(tensor.shape[axis]) if place not in places]
            left = left.index_select(axis, torch.tensor(kept, dtype=torch.long, device=tensor.device))
        setattr(module, name, nn.Parameter(left) if isinstance(tensor, nn.Parameter) else left)


def _resize(module: nn.Module) -> None:
    """Modules of unknown kinds stay as they are."""
    match module:
        case nn.GroupNorm():
            per_group = module.num_channels // module.num_groups
            module.num_channels = len(module.weight)
            module.num_groups = module.num_channels // per_group
        case nn.Embedding():
            module.num_embeddings, module.embedding_dim = module.weight.shape
        case nn.modules.instancenorm._InstanceNorm():
            _resize_instance_norm(module)
        case nn.RNNBase():
            _resize_recurrent(module)
        case _ if isinstance(module, CONVOLUTIONS):
            _resize_in_groups(module)


def _resize_instance_norm(module: Any) -> None:
    module.num_features = len(next(t for t in (module.weight, module.running_mean) if t is not None))


def _resize_recurrent(module: Any) -> None:
    module.input_size = module.weight_ih_l0.shape[1]
    # With projections it reads these in place of its hidden units, which then all stay.
    if not module.proj_size:
        module.hidden_size = module.weight_hh_l0.shape[1]


def _resize_in_groups(module: Any) -> None:
    """Whole groups go, so that each keeps its size."""
    transposed = isinstance(module, TRANSPOSED)
    rows, columns = module.weight.shape[:2]
    module.groups = rows // ((module.in_channels if transposed else module.out_channels) // module.groups)
    across = columns * module.groups
    module.in_channels, module.out_channels = (rows, across) if transposed else (across, rows)
