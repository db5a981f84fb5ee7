"""Whether a layer is of one piece: its weights have the shapes that its sizes say."""

from __future__ import annotations

from torch import Tensor, nn


def agrees(module: nn.Module) -> bool:
    """Whether the sizes that a layer states are those of its weights; of unknown kinds nothing is known."""
    if isinstance(module, nn.RNNBase):
        names = [name for layer in module._all_weights for name in layer]
        return all(tuple(getattr(module, name).shape) == _recurrent(module, name) for name in names)
    weight = getattr(module, "weight", None)
    if not isinstance(weight, Tensor):
        return True
    stated: tuple[int, ...]
    match module:
        case nn.Linear():
            stated = (module.out_features, module.in_features)
        case nn.Embedding():
            stated = (module.num_embeddings, module.embedding_dim)
        case nn.ConvTranspose1d() | nn.ConvTranspose2d() | nn.ConvTranspose3d():
            stated = (module.in_channels, module.out_channels // module.groups, *module.kernel_size)
        case nn.Conv1d() | nn.Conv2d() | nn.Conv3d():
            stated = (module.out_channels, module.in_channels // module.groups, *module.kernel_size)
        case nn.BatchNorm1d() | nn.BatchNorm2d() | nn.BatchNorm3d():
            stated = (module.num_features,)
        case nn.GroupNorm():
            stated = (module.num_channels,)
        case nn.LayerNorm():
            stated = tuple(module.normalized_shape)
        case _:
            return True
    return tuple(weight.shape) == stated


def _recurrent(module: nn.RNNBase, name: str) -> tuple[int, ...]:
    """The shape of one tensor of a recurrent layer, whose layers and directions share one width."""
    rows = {"LSTM": 4, "GRU": 3}.get(module.mode, 1) * module.hidden_size
    sent = module.proj_size or module.hidden_size
    kind, source, layer = name.split("_")[:3]
    if kind == "bias":
        return (rows,)
    if source == "hr":
        return (module.proj_size, module.hidden_size)
    if source == "hh":
        return (rows, sent)
    return (rows, module.input_size if layer == "l0" else sent * (1 + module.bidirectional))
