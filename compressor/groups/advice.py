"""What a user could change so that an excluded group can be removed."""

from __future__ import annotations

import re

from compressor.groups.trace import OUTPUTS

# Patterns are searched for in the reason that a group gives; the first that matches counts. \1 is what it names.
CHANGES = (
    (r"^(.*) is frozen \(requires_grad", r"train \1 as well: requires_grad_(True)"),
    (r"(\S+) is an nn\.MultiheadAttention with", r"write \1 with linear layers of its own for query, key and value"),
    (r"(\S+) is an nn\.MultiheadAttention that", r"only call \1, by one name: read none of its attributes"),
    (
        r"^(.*) normalises across the channels without",
        r"weights for the norm in \1 (elementwise_affine=True), then training",
    ),
    (
        r"^(.*) normalises across",
        r"norms of single channels (BatchNorm) for \1 and all others on these channels, then training",
    ),
    (r"number of .* channels that it pads is written into (.*)$", r"make the padding of \1 a module of its own"),
    (r"f\(0\) != 0 sends \S+ to (.*), where zero padding", r"an activation with f(0) = 0 before \1: ReLU, SiLU, GELU"),
    (
        r"f\(0\) != 0 sends \S+ to (.*), where it has no bias",
        r"a bias for \1, or f(0) = 0 before it: ReLU, SiLU, GELU",
    ),
    (
        r"^(.*) scales products of queries and keys by how many",
        r"scale=head_dim**-0.5, with the width as it is now, for scaled_dot_product_attention in \1",
    ),
    (r"^(.*) starts from a state of fixed width", r"call \1 without a first state: it starts from zeros by itself"),
    (r"(\S+) is an nn\.LSTM with projections", r"a linear layer behind \1 in place of its proj_size"),
    (r"meets a tensor of fixed width in (.*)$", r"take widths from the shape of the input in \1, not from constants"),
    (r"beside a tensor of fixed width in (.*)$", r"take widths from the shape of the input in \1, not from constants"),
    (r"^(.*) computes its weight anew", r"fold what computes the weight of \1 into it (remove_parametrizations)"),
    (r"^(.*) computes with its parameters", r"compute with the outputs of \1's layers, not with their weights"),
    (r"^(.*) writes it into a part of another tensor", r"torch.cat in \1 instead of writing into slices"),
    (r"^(.*) uses (\S+) in a form that is not known", r"another form of \2 in \1"),
    (
        r"^(.*) decides by values which way to go",
        r"inputs that take every way of \1 (--example FILE, once for each), or a condition on shapes or settings",
    ),
    (r"^(.*) draws random numbers", r"the same random numbers for all channels in \1, or none in evaluation"),
    (
        r"breaks the network|code relies on the number",
        "take sizes in forward from shapes (x.shape[1], -1), not from constants",
    ),
    (r"was not probed within", "a smaller --input-shape, or a machine with less to do"),
)


def advice(excluded: str | None) -> str | None:
    """What would let a group go that is excluded for that reason; None where nothing would, or nothing need."""
    if excluded is None or is_output(excluded):
        return None
    for pattern, change in CHANGES:
        if match := re.search(pattern, excluded):
            return match.expand(change)
    return None


def is_output(excluded: str | None) -> bool:
    """Whether a group is excluded because it is what the network gives."""
    return excluded == OUTPUTS
