"""The kinds of layers: which make channels, by which weights, and what sizes they state."""

from __future__ import annotations

from torch import Tensor, nn

from compressor.architectures.attention import SlimAttention

TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
# Without the transposed ones.
PLAIN_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
CONVOLUTIONS = (*PLAIN_CONVOLUTIONS, *TRANSPOSED)
ATTENTION = (nn.MultiheadAttention, SlimAttention)
# Layers that multiply what they read with weights, and so make channels out of others.
PRODUCERS = (*CONVOLUTIONS, nn.Linear, nn.RNNBase, *ATTENTION)
# All layers that make channels.
MAKERS = (*PRODUCERS, nn.Embedding)
NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)
# What modules of other people that multiply with parameters of their own call how many channels these make and read.
STATED_OUTPUTS = ("out_features", "out_channels", "out_dim", "output_dim", "embedding_dim", "nf")
STATED_INPUTS = ("in_features", "in_channels", "in_dim", "input_dim", "nx")
# By what attention makes queries, keys and values.
PROJECTIONS = ("in_proj_weight", "q_proj_weight", "k_proj_weight", "v_proj_weight")


def matrices(module: nn.Module) -> dict[str, int]:
    """The weights by which a layer makes channels, by name, each with the axis of those that it makes."""
    if isinstance(module, nn.RNNBase):
        return {name: 0 for names in module._all_weights for name in names if name.startswith("weight")}
    if isinstance(module, ATTENTION):
        return {name: 0 for name in PROJECTIONS if getattr(module, name, None) is not None}
    if isinstance(module, nn.Embedding):
        return {"weight": 1}
    return {"weight": output_axis(module)}


def is_matrix(module: nn.Module, name: str) -> bool:
    """Whether a module makes channels by that tensor; of other people's modules every parameter with two axes may."""
    if isinstance(module, MAKERS):
        return name in matrices(module)
    tensor = getattr(module, name)
    return isinstance(tensor, nn.Parameter) and tensor.ndim > 1


def output_axis(module: nn.Module) -> int:
    """The axis of ``module.weight`` on which its output channels lie: 1 for transposed convolutions, else 0."""
    # In groups the channels of axis 0 go together with those that they make.
    return int(isinstance(module, TRANSPOSED) and module.groups == 1)


def channel_axis(module: nn.Module) -> int:
    """The axis of what a layer reads and makes on which channels lie: the last of linear and recurrent ones, else 1."""
    return -1 if isinstance(module, nn.Linear | nn.RNNBase) else 1


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
        case _ if isinstance(module, TRANSPOSED):
            stated = (module.in_channels, module.out_channels // module.groups, *module.kernel_size)
        case _ if isinstance(module, PLAIN_CONVOLUTIONS):
            stated = (module.out_channels, module.in_channels // module.groups, *module.kernel_size)
        case _ if isinstance(module, NORMS):
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
