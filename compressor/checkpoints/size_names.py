"""What modules call their sizes, as far as an edit of a checkpoint may set them."""

from __future__ import annotations

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
    "key_value_proj_dim",
    # What modules that multiply with parameters of their own call their widths.
    "nf",
    "nx",
    "split_size",
    "in_dim",
    "out_dim",
    "input_dim",
    "output_dim",
)
# The edit of a module whose weights the architecture computes from others, and the network does not.
PLAIN_WEIGHTS = "plain weights"
