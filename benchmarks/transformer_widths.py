"""Latency in ONNX Runtime, on one thread, of a transformer without half of its stream, its heads or its MLPs.

    python benchmarks/transformer_widths.py [NAME of timm's] [SIZE] [DEPTH]

Each network is timed against the dense one in turns; printed are MACs and the median of the ratios, with quartiles.
"""

from __future__ import annotations

import sys
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from torch import nn

from compressor.costs import count_macs
from compressor.groups import ChannelGroup, find_groups, zero
from compressor.shrinking import remove_zero_channels
from compressor.sources import build_timm

TURNS = 60


def part(group: ChannelGroup) -> str:
    """Which part of a transformer a group is, by its first producer and what it counts."""
    if any(member.role == "count" and "num_heads" in dict(member.tensors) for member in group.members):
        return "heads"
    return "MLPs" if ".mlp." in group.name or ".fc1" in group.name else "stream"


def session(model: nn.Module, example: torch.Tensor, path: Path) -> onnxruntime.InferenceSession:
    """``model`` in ONNX Runtime on one thread."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(model, (example[:1],), str(path), dynamo=True, verbose=False)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def seconds(run: onnxruntime.InferenceSession, image: np.ndarray) -> float:
    """How long one image takes."""
    start = time.perf_counter()
    run.run(None, {run.get_inputs()[0].name: image})
    return time.perf_counter() - start


def main(name: str = "vit_small_patch16_224", size: str = "224", depth: str = "12") -> None:
    """Print one line for each half."""
    torch.manual_seed(0)
    dense = build_timm(name, {"img_size": int(size), "depth": int(depth)}).eval()
    example = torch.randn(2, 3, int(size), int(size))
    groups = [group for group in find_groups(dense, example) if group.prunable]
    state = {name: tensor.clone() for name, tensor in dense.state_dict().items()}
    macs = count_macs(dense, example)
    with tempfile.TemporaryDirectory() as folder:
        base, image = session(dense, example, Path(folder) / "dense.onnx"), example[:1].numpy()
        for chosen in ({"stream"}, {"heads"}, {"MLPs"}, {"stream", "heads", "MLPs"}):
            dense.load_state_dict(state)
            for group in groups:
                if part(group) in chosen:
                    zero(dense, group, torch.arange(group.channels // 2))
            small = remove_zero_channels(dense, example, groups=groups, align=1).model
            left = session(small, example, Path(folder) / "small.onnx")
            ratios = [seconds(left, image) / seconds(base, image) for _ in range(TURNS)]
            low, middle, high = np.quantile(ratios[TURNS // 6 :], (0.25, 0.5, 0.75))
            share = count_macs(small, example) / macs
            print(f"half of {', '.join(sorted(chosen))}: {share:.3f} of the MACs, {middle:.3f} of the time "
                  f"[{low:.3f}-{high:.3f}]", flush=True)  # fmt: skip


if __name__ == "__main__":
    main(*sys.argv[1:])
