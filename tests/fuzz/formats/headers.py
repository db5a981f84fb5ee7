"""The header of our own checkpoints, which .pt and .safetensors share: its places and what is put there."""

from __future__ import annotations

from hypothesis import strategies as st

from fuzz import values
from fuzz.trees import Aims

SHAPES = ([1, 28, 100_000], [1, 2**20, 8], [2**31], [1, 8, 8, 8], [], [0], [-1, 8, 8], [3, 100_000, 100_000], [8.0, 8])
REACHING = (
    {"pretrained": True},
    {"pretrained_cfg": {"url": "http://127.0.0.1:9/x.pt"}},
    {"checkpoint_path": "{outside}/payload.py"},
    {"weights": "DEFAULT"},
    {"num_classes": 10**9},
    {"width": 10**6},
    {"width": 2**40},
    {"width": 0},
    {"width": -8},
    {"width": "8"},
    {"num_classes": 10**7},
    {"__class__": 1},
)
KINDS = ("padded shortcut", "constant", "identity", "attention", "resize", "")
HISTORY = ({"stage": "\x1b[31mred"}, {"stage": 1}, {}, [], {"stage": {"a": {"b": [1] * 100}}}, {"\x1b": float("nan")})


def aims(prefix: str) -> Aims:
    """Places below ``prefix``."""
    numbers, texts = st.sampled_from(values.NUMBERS), st.sampled_from(values.TEXTS)
    return (
        (f"{prefix}/input_shape", st.sampled_from(SHAPES)),
        (f"{prefix}/input_shape/\\d+", numbers),
        (f"{prefix}/edits/\\d+/(sizes|tensors)/.*", st.one_of(numbers, st.lists(numbers, max_size=4))),
        (f"{prefix}/edits/\\d+/edit", st.sampled_from(KINDS)),
        (f"{prefix}/edits/\\d+/module", st.sampled_from(("", "0", "8", "99", "__class__", "_modules", "\x1b[31m"))),
        (f"{prefix}/architecture/ref", texts),
        (f"{prefix}/architecture/args", st.sampled_from(REACHING)),
        (f"{prefix}/data/ref", texts),
        (f"{prefix}/data/.*", st.one_of(numbers, st.sampled_from(values.FLOATS))),
        (f"{prefix}/classes", st.sampled_from(([""] * 10**5, ["\x1b[31m"] * 4, ["a"] * 4, ["a"], "abcd", [None] * 4))),
        (f"{prefix}/normalization.*", st.one_of(numbers, st.sampled_from(([[0.5], [0.0]], [[1e300], [1e-300]], {})))),
        (f"{prefix}/history/\\d+", st.sampled_from(HISTORY)),
    )
