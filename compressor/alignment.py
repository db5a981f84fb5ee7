"""Channel counts that the runtime rewards.

ONNX Runtime's convolutions run in blocks of channels: time is a staircase in the width, and a width
that is no multiple of 4 leaves the blocked path altogether. So survivors are rounded *up* to the
end of the step they already pay for. The width of the layers counts: any number of heads that are
64 wide fills whole steps, and of the places inside of each of 12 heads every second does.

A layer that makes channels pays for whole blocks of the processor, one that reads them by fours, so that below a block
half of it and a quarter are worth having.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from compressor.errors import UsageError
from compressor.processor import channel_block

NARROW = 32
# No layer is wider than such a number.
DIGITS = 18


@dataclass(frozen=True)
class Alignment:
    """Round kept channels up to multiples of ``multiple``; None: of 8, of 4 in layers narrower than 32.

    A target chooses among whole steps; with a ``block``, of output channels that the processor computes at once, among
    those that fill whole blocks, or a half or a quarter of one.
    """

    multiple: int | None = None
    block: int | None = None

    @classmethod
    def parse(cls, asked: str | int) -> Alignment:
        """``auto``, for this processor, ``auto:BLOCK`` for another, or a positive number; `UsageError` otherwise."""
        text = str(asked)
        if text == "auto":
            return cls(None, channel_block())
        number = text.removeprefix("auto:")
        if not number.isdecimal() or len(number) > DIGITS or int(number) < 1:
            raise UsageError(
                f"--align must be auto, auto:BLOCK or a number of at least 1, got {text[: DIGITS + len('auto:')]!r}"
            )
        return cls(int(text)) if number == text else cls(None, int(number))

    def __str__(self) -> str:
        if self.multiple is not None:
            return str(self.multiple)
        return "auto" if self.block is None else f"auto:{self.block}"

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

    def levels(self, channels: int, places: int = 1) -> tuple[int, ...]:
        """The numbers of ``channels`` among which a target chooses, increasing: the last keeps all of them."""
        steps = dict.fromkeys(self.up(kept, channels, places) for kept in range(1, channels + 1))
        return tuple(kept for kept in steps if kept == channels or self._fills_blocks(kept * places))

    def _fills_blocks(self, width: int) -> bool:
        return self.block is None or width % self.block == 0 or self.block % width == 0
