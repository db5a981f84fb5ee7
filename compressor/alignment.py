"""Channel counts that the runtime rewards.

ONNX Runtime's convolutions run in blocks of channels: time is a staircase in the width, and a width
that is no multiple of 4 leaves the blocked path altogether. So survivors are rounded *up* to the
end of the step they already pay for. The width of the layers counts: any number of heads that are
64 wide fills whole steps, and of the places inside of each of 12 heads every second does.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from compressor.errors import UsageError

NARROW = 32
# No layer is wider than such a number.
DIGITS = 18


@dataclass(frozen=True)
class Alignment:
    """Round kept channels up to multiples of ``multiple``; None: of 8, of 4 in layers narrower than 32."""

    multiple: int | None = None

    @classmethod
    def parse(cls, asked: str | int) -> Alignment:
        """``auto`` or a positive number; `UsageError` otherwise."""
        text = str(asked)
        if text == "auto":
            return cls(None)
        if not text.isdecimal() or len(text) > DIGITS or int(text) < 1:
            raise UsageError(f"--align must be auto or a number of at least 1, got {text[:DIGITS]!r}")
        return cls(int(text))

    def __str__(self) -> str:
        return str(self.multiple or "auto")

    @property
    def steps(self) -> str:
        """The least that is kept of any layer, in words."""
        return str(self.multiple or f"{self.step(0)} to {self.step(NARROW)}")

    def step(self, channels: int, places: int = 1) -> int:
        """The least number of ``channels``, of so many ``places`` in a layer, that fill whole multiples of its width.

        Also the least that is kept of them.
        """
        multiple = self.multiple or (4 if channels * places < NARROW else 8)
        return multiple // math.gcd(multiple, places)

    def up(self, kept: int, channels: int, places: int = 1) -> int:
        """``kept`` rounded up to a whole step, at least one step, never above ``channels``."""
        step = self.step(channels, places)
        return min(channels, max(1, -(-kept // step)) * step)
