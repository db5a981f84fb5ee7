"""The sizes that modules state as attributes, which removal changes and a file may set."""

from __future__ import annotations

from torch import nn

# The only attributes that an edit may set: plain sizes. A file must not reach any other attribute.
SIZES = (
    "after",
    "before",
    "channels",
    "embedding_dim",
    "full_width",
    "groups",
    "hidden_size",
    "in_channels",
    "in_features",
    "input_size",
    "input_width",
    "normalized_shape",
    "num_channels",
    "num_features",
    "num_groups",
    "num_parameters",
    "out_channels",
    "out_features",
    "output_width",
    "query_width",
    "step",
    "trailing",
    "value_width",
    # How many channels modules of others state, how many heads attention has, and how wide each is.
    "all_head_size",
    "attn_dim",
    "d_model",
    "embed_dim",
    "hidden_dim",
    "inner_dim",
    "num_heads",
    "num_attention_heads",
    "n_heads",
    "n_head",
    "heads",
    "head_dim",
    "dim_head",
    "attention_head_size",
    # What modules that multiply with parameters of their own call their widths.
    "nf",
    "split_size",
    "nx",
    "in_dim",
    "out_dim",
    "input_dim",
    "output_dim",
)


def stated_sizes(module: nn.Module) -> dict[str, int | tuple[int, ...]]:
    """What ``module`` itself says of its sizes, by attribute."""
    # A property only tells what another module states.
    stated = [name for name in SIZES if not isinstance(getattr(type(module), name, None), property)]
    values = {name: getattr(module, name) for name in stated if hasattr(module, name)}
    plain = {name: tuple(size) if isinstance(size, list | tuple) else size for name, size in values.items()}
    return {name: size for name, size in plain.items() if _is_size(size)}


def _is_size(value: object) -> bool:
    """Modules of others may mean something else by the name."""
    parts = value if isinstance(value, tuple) else (value,)
    return all(type(part) is int and part >= 0 for part in parts)
