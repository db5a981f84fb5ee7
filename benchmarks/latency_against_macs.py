"""How the latency of a network follows its MACs when all its widths are cut by the same share.

    python benchmarks/latency_against_macs.py ARCHITECTURE SIZE [SHARES]

The widths are whole blocks of the processor, the weights random, the shares (0.75,0.5) those of the channels. All files
are timed beside the dense one with one thread; the table in Markdown goes to stdout.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import torch

from compressor.benchmarking import benchmark
from compressor.costs import count_macs
from compressor.export import export_onnx
from compressor.groups import find_groups, zero
from compressor.processor import channel_block
from compressor.shrinking import remove_zero_channels
from compressor.sources import Architecture


def main() -> None:
    """Cut, export, time and print."""
    reference, size, *rest = sys.argv[1:]
    shares = sorted(map(float, (rest or ["0.75,0.625,0.5,0.375"])[0].split(",")), reverse=True)
    torch.manual_seed(0)
    dense = Architecture(reference).build().eval()
    example = torch.randn(1, 3, int(size), int(size))
    dense_macs = count_macs(dense, example)
    block = channel_block()
    with tempfile.TemporaryDirectory() as folder:
        files, macs = [Path(folder) / "dense.onnx"], []
        export_onnx(dense, example, files[0])
        for share in shares:
            groups = find_groups(dense, example)
            for group in groups:
                if group.prunable:
                    kept = min(group.channels, -(-round(group.channels * share) // block) * block)
                    zero(dense, group, torch.arange(group.channels) >= kept)
            small = remove_zero_channels(dense, example, groups=groups).model
            macs.append(count_macs(small, example) / dense_macs)
            files.append(Path(folder) / f"{share}.onnx")
            export_onnx(small, example, files[-1])
        report = benchmark(files, names=["dense", *map(str, shares)], max_seconds=240, details=False)
    print("| channels | MACs | latency relative to dense | latency / MACs |")
    print("|---|---|---|---|")
    for share, left, one in zip(shares, macs, report.comparisons, strict=True):
        low, high = one.ci95
        print(f"| {share:.1%} | {left:.1%} | {one.ratio:.3f} [{low:.3f}–{high:.3f}] | {one.ratio / left:.3f} |")


if __name__ == "__main__":
    main()
