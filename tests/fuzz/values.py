"""Hostile values: as plain data in a case, and what they become when the case is made."""

from __future__ import annotations

import math
from typing import Any

from hypothesis import strategies as st

# Names in braces are places of the sandbox; see `cases.Places`.
TEXTS = (
    "",
    " ",
    "\0",
    "\x1b[31mred\x1b[0m",
    "\x1b]0;title\x07",
    "\x9b2J",
    "two\nlines",
    "Error: not\rours",
    "\u202efile.exe",
    "\ud800",
    "%s {0} {x.__class__} $HOME `id`",
    "[bold]markup[/bold] [/] [link=http://127.0.0.1:9]x[/link]",
    "<script>x</script>",
    "../../escape",
    "/dev/zero",
    "/dev/stdin",
    "/etc/passwd",
    "{outside}/payload.py:build",
    "{outside}/payload.py",
    "{outside}/fifo",
    "{outside}/escape.pt",
    "npz:{outside}/secret.npz",
    "npz:/dev/zero",
    "npz:{outside}/fifo",
    "folder:{outside}",
    "mnist:{outside}",
    "os:system",
    "subprocess:getoutput",
    "builtins:exec",
    "payload:build",
    "timm:resnet18",
    "torchvision:resnet18",
    "http://127.0.0.1:9/x.pt",
    "nan",
    "1e999",
    "compressor.checkpoint",
)
NUMBERS = (
    *(0, 1, -1, 2, 3, 7, 99, 255, 65536, 10**5, 10**7, 10**9),
    *(2**31 - 1, 2**31, 2**32, 2**53 + 1, 2**62, 2**63 - 1, 2**63, 2**64, -(2**63), -(2**64), 10**30),
)
FLOATS = (0.0, -0.0, 0.5, 1.5, 1e-320, 1e38, 1e39, 1e300, -1e300, math.inf, -math.inf, math.nan)
LENGTHS = (100, 5000, 100_000)


def plain(text: bytes) -> dict[str, Any]:
    """Bytes as a case keeps them."""
    return {"$": "bytes", "hex": text.hex()}


def made(value: Any, places: dict[str, str]) -> Any:
    """What ``value`` of a case stands for."""
    if isinstance(value, str):
        for name, place in places.items():
            value = value.replace("{" + name + "}", place)
        return value
    if isinstance(value, list):
        return [made(entry, places) for entry in value]
    if not isinstance(value, dict):
        return value
    match value.get("$"):
        case "bytes":
            return bytes.fromhex(value["hex"])
        case "long":
            return value["of"] * value["n"]
        case "digits":
            return 10 ** value["n"]
        case "deep":
            nested: Any = []
            for _ in range(value["n"]):
                nested = [nested]
            return nested
    return {key: made(entry, places) for key, entry in value.items()}


def hostile() -> st.SearchStrategy[Any]:
    """Any value of JSON, mostly one that somebody forgot."""
    return st.one_of(
        st.sampled_from(TEXTS),
        st.sampled_from(NUMBERS),
        st.sampled_from(FLOATS),
        st.sampled_from((None, True, False, [], {}, [[]], {"": {}}, [None])),
        st.builds(lambda n: {"$": "long", "of": "a", "n": n}, st.sampled_from(LENGTHS)),
        st.builds(lambda n: {"$": "deep", "n": n}, st.sampled_from((60, 300))),
        st.builds(lambda n: {"$": "digits", "n": n}, st.sampled_from((40, 400))),
        st.text(max_size=12),
        st.integers(),
        st.floats(),
        st.lists(st.one_of(st.integers(-3, 2**33), st.text(max_size=3)), max_size=5),
    )
