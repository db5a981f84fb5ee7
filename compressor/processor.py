"""What is known of this machine's processor without asking it to work."""

from __future__ import annotations

from functools import cache
from pathlib import Path

CPUINFO = Path("/proc/cpuinfo")
# Channels in a block of ONNX Runtime's convolutions (MlasNchwcGetBlockSize): with AVX-512, and elsewhere.
AVX512_BLOCK, OTHER_BLOCK = 16, 8


def channel_block() -> int:
    """How many output channels ONNX Runtime's convolutions compute at once on this processor."""
    return AVX512_BLOCK if "avx512f" in _flags(CPUINFO) else OTHER_BLOCK


@cache
def _flags(file: Path) -> frozenset[str]:
    """The instruction sets of the first processor; none where the system does not tell."""
    try:
        text = file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return frozenset()
    line = next((line for line in text.splitlines() if line.startswith("flags")), "")
    return frozenset(line.partition(":")[2].split())
