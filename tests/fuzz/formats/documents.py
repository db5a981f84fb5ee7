"""JSON: reports, settings, records of stages."""

from __future__ import annotations

import json
import re
from typing import Any

from hypothesis import strategies as st

from fuzz import values
from fuzz.formats import Plain
from fuzz.trees import Aims

# What JSON allows and Python would not write.
LITERALS = ("1e400", "-1e400", "1E+99999", "0.1e-99999", "NaN", "-Infinity", "01", "1_000", "'x'", '"\\ud800"', '"a')
RAW = "@literal:"


class Document(Plain):
    """A JSON document, with numbers that no float holds."""

    def read(self, content: bytes) -> Any:
        """Parse it."""
        return json.loads(content)

    def write(self, tree: Any) -> bytes:
        """As text; literals go in unquoted."""
        text = json.dumps(tree, default=repr)
        return re.sub(rf'"{RAW}((?:[^"\\]|\\.)*)"', lambda found: json.loads(f'"{found[1]}"'), text).encode()

    def values(self) -> st.SearchStrategy[Any]:
        """Those of JSON, and literals."""
        return st.one_of(values.hostile(), values.hostile(), st.sampled_from(LITERALS).map(RAW.__add__))

    def aims(self) -> Aims:
        """Numbers, anywhere: most are checked one by one. Texts, which reach the terminal."""
        numbers = st.one_of(st.sampled_from(values.NUMBERS), st.sampled_from(LITERALS).map(RAW.__add__))
        return (
            (r".*(_ms|_bytes|ratio|speedup|ci95|value|macs|parameters|/n|p50|seed|version)(/\d+)?", numbers),
            (r".*(os|cpu_model|name|path|warnings/\d+|notes/\d+|stage|variant|command)", st.sampled_from(values.TEXTS)),
        )
