"""The sizes that layers state, made those of their tensors."""

from __future__ import annotations

from typing import Any

from torch import nn

TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, *TRANSPOSED)


def resize(module: nn.Module) -> None:
    """Set every size that ``module`` states to what its tensors have; modules of unknown kinds stay as they are."""
    match module:
        case nn.Linear():
            module.out_features, module.in_features = module.weight.shape
        case nn.GroupNorm():
            per_group = module.num_channels // module.num_groups
            module.num_channels = len(module.weight)
            module.num_groups = module.num_channels // per_group
        case nn.PReLU():
            module.num_parameters = len(module.weight)
        case nn.Embedding():
            module.num_embeddings, module.embedding_dim = module.weight.shape
        case nn.modules.batchnorm._NormBase():
            _resize_norm(module)
        case nn.RNNBase():
            _resize_recurrent(module)
        case _ if isinstance(module, CONVOLUTIONS):
            _resize_convolution(module)


def _resize_norm(module: Any) -> None:
    module.num_features = len(next(t for t in (module.weight, module.running_mean) if t is not None))


def _resize_recurrent(module: Any) -> None:
    module.input_size = module.weight_ih_l0.shape[1]
    # With projections it reads these in place of its hidden units, which then all stay.
    if not module.proj_size:
        module.hidden_size = module.weight_hh_l0.shape[1]


def _resize_convolution(module: Any) -> None:
    transposed = isinstance(module, TRANSPOSED)
    rows, columns = module.weight.shape[:2]
    if module.groups > 1:
        # Whole groups go, so that each keeps its size.
        module.groups = rows // ((module.in_channels if transposed else module.out_channels) // module.groups)
    across = columns * module.groups
    module.in_channels, module.out_channels = (rows, across) if transposed else (across, rows)
