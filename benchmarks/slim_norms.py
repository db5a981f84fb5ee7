"""When a narrower residual stream pays for its slim norms: time of whole blocks in ONNX Runtime on one thread.

    python benchmarks/slim_norms.py [WIDTH ...] [--tokens 197] [--seconds 30]

Blocks are those of ViT: norm, attention, norm, MLP. Printed is the time relative to the dense block's, with its 95 %
interval (`compress benchmark`), of blocks that keep a share of the stream, once with `SlimLayerNorm` and once with
torch's own norm over what is left, which computes something else and shows what the slim one costs.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from compressor.architectures.norms import SlimLayerNorm
from compressor.benchmarking import benchmark
from compressor.export import export_onnx

BLOCKS, STEP, HEAD = 2, 8, 64
COLUMNS = ("stream", "kept", "time with slim norms", "time with torch's norms")


class Block(nn.Module):
    """(batch, tokens, kept) -> the same; inside of attention and MLP nothing is cut."""

    def __init__(self, width: int, kept: int, *, slim: bool) -> None:
        super().__init__()
        self.heads = max(width // HEAD, 1)
        norms = [SlimLayerNorm(nn.LayerNorm(width), channels=kept, full_width=width, trailing=0) for _ in range(2)]
        for norm in norms:
            nn.init.ones_(norm.weight)
            nn.init.zeros_(norm.bias)  # type: ignore[arg-type]
        self.norms = nn.ModuleList(norms if slim else [nn.LayerNorm(kept), nn.LayerNorm(kept)])
        self.qkv, self.proj = nn.Linear(kept, 3 * width), nn.Linear(width, kept)
        self.fc1, self.fc2 = nn.Linear(kept, 4 * width), nn.Linear(4 * width, kept)

    def forward(self, x: Tensor) -> Tensor:
        """Attention, then the MLP, each behind its norm and beside what came in."""
        heads = torch.unflatten(self.qkv(self.norms[0](x)), -1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        x = x + self.proj(F.scaled_dot_product_attention(*heads.unbind(0)).transpose(1, 2).flatten(2))
        return x + self.fc2(F.gelu(self.fc1(self.norms[1](x))))


def exported(path: Path, width: int, kept: int, tokens: int, *, slim: bool) -> Path:
    """The file of some blocks."""
    blocks = nn.Sequential(*(Block(width, kept, slim=slim) for _ in range(BLOCKS))).eval()
    export_onnx(blocks, torch.randn(2, tokens, kept), path)
    return path


def compared(width: int, tokens: int, seconds: float, folder: Path) -> list[list[str]]:
    """The rows of one width: without one step, three quarters, half."""
    kept = sorted({width - STEP, 3 * width // 4, width // 2}, reverse=True)
    files = [exported(folder / "dense.onnx", width, width, tokens, slim=False)]
    names = ["dense"]
    for left in kept:
        for slim in (True, False):
            names.append(f"{left} {'slim' if slim else 'own'}")
            files.append(exported(folder / f"{names[-1].replace(' ', '-')}.onnx", width, left, tokens, slim=slim))
    report = benchmark(files, names=names, max_seconds=seconds)
    cells = [f"{c.ratio:.3f} [{c.ci95[0]:.3f}-{c.ci95[1]:.3f}]" for c in report.comparisons]
    return [[str(width), str(left), *cells[2 * n : 2 * n + 2]] for n, left in enumerate(kept)]


def main(arguments: Sequence[str]) -> None:
    """Print the table, row by row."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("widths", nargs="*", type=int, default=[64, 192, 384, 768], metavar="WIDTH")
    parser.add_argument("--tokens", type=int, default=197)
    parser.add_argument("--seconds", type=float, default=30.0, help="of timing for each width")
    asked = parser.parse_args(arguments)
    warnings.simplefilter("ignore")
    torch.manual_seed(0)
    print(f"| {' | '.join(COLUMNS)} |\n|{' --- |' * len(COLUMNS)}", flush=True)
    for width in asked.widths:
        with tempfile.TemporaryDirectory() as folder:
            for cells in compared(width, asked.tokens, asked.seconds, Path(folder)):
                print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
