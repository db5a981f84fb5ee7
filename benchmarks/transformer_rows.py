"""What can go from transformers, whether the rest is equal, and the time that half of each part takes in ONNX Runtime.

    python benchmarks/transformer_rows.py [NAME ...] [--blocks 4] [--seconds 60] > rows.md

Networks of timm, torchvision and transformers with random weights, at their true size, or with fewer ``--blocks``.
Printed is one row of Markdown each: the MACs that can be pruned and the least that can be reached; equality after a
random half of every group has gone, in float64, float32 and ONNX Runtime; and for half of the stream, half of the heads
(or of the width of each) and half of the MLPs, beside the MACs left, the latency relative to the dense network's on one
thread, with its 95 % interval (`compress benchmark`).
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from compressor.alignment import Alignment
from compressor.benchmarking import benchmark
from compressor.costs import count_macs
from compressor.export import export_onnx
from compressor.forecast import Forecast
from compressor.groups import ChannelGroup, find_groups, zero
from compressor.inputs import Examples
from compressor.shrinking import Shrunk, remove_zero_channels

PARTS = ("stream", "heads", "MLPs")
COLUMNS = ("network", "size", "grouping s", "MACs prunable", "least", "float64", "float32", "ONNX", *PARTS, "control")
Built = tuple[nn.Module, Examples]


@dataclass(frozen=True)
class Network:
    """How a network is built with that many blocks, how many it has in its library, and what it reads."""

    build: Callable[[int], Built]
    blocks: int
    reads: str


def images(side: int = 224) -> torch.Tensor:
    """Two random images (2, 3, side, side)."""
    return torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(0))


def of_timm(name: str, blocks: int) -> Built:
    """A network of timm and images."""
    import timm

    return timm.create_model(name, depth=blocks), Examples(images())


def vit(blocks: int) -> Built:
    """Torchvision's ViT-B/16."""
    import torchvision

    network = torchvision.models.VisionTransformer(224, 16, blocks, num_heads=12, hidden_dim=768, mlp_dim=3072)
    return network, Examples(images())


def swin(blocks: int, version: str = "") -> Built:
    """Torchvision's Swin-T or Swin-V2-T, of which the third stage gets shorter."""
    from torchvision.models import swin_transformer

    side, window = (256, 8) if version else (224, 7)
    block = getattr(swin_transformer, f"SwinTransformerBlock{version}")
    merging = getattr(swin_transformer, f"PatchMerging{version}")
    depths = [2, 2, max(blocks - 6, 0), 2]
    network = swin_transformer.SwinTransformer(
        [4, 4], 96, depths, [3, 6, 12, 24], [window, window], block=block, downsample_layer=merging
    )
    return network, Examples(images(side))


def of_transformers(kind: str, config: Mapping[str, Any], inputs: Mapping[str, torch.Tensor], blocks: int) -> Built:
    """A network of transformers, for example ``Bert:ForMaskedLM``, and what it reads."""
    import transformers

    family, _, head = kind.partition(":")
    settings = getattr(transformers, f"{family}Config")(num_hidden_layers=blocks, **config)
    return getattr(transformers, f"{family}{head}")(settings), Examples(dict(inputs), outputs="logits")


def tokens(count: int) -> dict[str, torch.Tensor]:
    """Two texts of that many tokens."""
    return {"input_ids": torch.randint(3, 200, (2, count), generator=torch.Generator().manual_seed(0))}


LLAMA = {
    "hidden_size": 512, "intermediate_size": 1408, "num_attention_heads": 8, "num_key_value_heads": 4,
    "vocab_size": 2000, "use_cache": False,
}  # fmt: skip
NETWORKS: Mapping[str, Network] = {
    "timm ViT-S/16": Network(partial(of_timm, "vit_small_patch16_224"), 12, "224 px"),
    "timm DeiT-S/16": Network(partial(of_timm, "deit_small_patch16_224"), 12, "224 px"),
    "timm ViT-Ti/16": Network(partial(of_timm, "vit_tiny_patch16_224"), 12, "224 px"),
    "torchvision ViT-B/16": Network(vit, 12, "224 px"),
    "torchvision Swin-T": Network(swin, 12, "224 px"),
    "torchvision Swin-V2-T": Network(partial(swin, version="V2"), 12, "256 px"),
    "Hugging Face ViT-B/16": Network(
        partial(of_transformers, "ViT:ForImageClassification", {}, {"pixel_values": images()}), 12, "224 px"
    ),
    "Hugging Face BERT base": Network(
        partial(of_transformers, "Bert:ForSequenceClassification", {}, tokens(128)), 12, "128 tokens"
    ),
    "Hugging Face Llama, 512 wide": Network(
        partial(of_transformers, "Llama:ForCausalLM", LLAMA, tokens(128)), 8, "128 tokens"
    ),
}


def part(group: ChannelGroup) -> str:
    """Attention has products of two tensors, a stream several readers; what is left is inside of an MLP."""
    if group.products:
        return "heads"
    return "stream" if sum(member.role == "consumer" for member in group.members) > 1 else "MLPs"


def random_weights(network: nn.Module) -> nn.Module:
    """Nothing that starts at zero or one stays there, since that could hide a fault."""
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.ndim < 2 or not bool(parameter.any()):
                parameter.add_(0.1 * torch.randn_like(parameter))
    return network.eval()


def without(dense: nn.Module, example: Examples, groups: Sequence[ChannelGroup], chosen: Sequence[str]) -> Shrunk:
    """The network without a random half of the groups of these parts."""
    state = {name: tensor.clone() for name, tensor in dense.state_dict().items()}
    generator = torch.Generator().manual_seed(1)
    for group in groups:
        if part(group) in chosen:
            zero(dense, group, torch.randperm(group.channels, generator=generator)[: group.channels // 2])
    try:
        return remove_zero_channels(dense, example, groups=groups, align=1)
    finally:
        dense.load_state_dict(state)


def row(name: str, blocks: int, seconds: float, folder: Path) -> list[str]:
    """All columns of one network."""
    network = NETWORKS[name]
    dense, example = network.build(blocks)
    dense = random_weights(dense)
    start = time.perf_counter()
    every = find_groups(dense, example)
    took = time.perf_counter() - start
    forecast = Forecast(dense, example, every, Alignment.parse("auto"))
    prunable = [group.prunable for group in every]
    total, least = forecast.macs.total(), forecast.least(prunable, "macs") or forecast.macs.total()
    groups = [group for group in every if group.prunable]
    all_halves = without(dense, example, groups, PARTS)
    exported = export_onnx(all_halves.model, example, folder / "all.onnx")
    files, shares = [folder / "dense.onnx"], []
    export_onnx(dense, example, files[0])
    for chosen in PARTS:
        small = without(dense, example, groups, [chosen]).model
        files.append(folder / f"{chosen}.onnx")
        export_onnx(small, example, files[-1])
        shares.append(count_macs(small, example) / total)
    report = benchmark(files, names=["dense", *PARTS], max_seconds=seconds)
    times = [f"{c.ratio:.3f} [{c.ci95[0]:.3f}-{c.ci95[1]:.3f}]" for c in (*report.comparisons, *report.controls)]
    return [
        name, f"{network.reads}, {blocks} of {network.blocks} blocks",
        f"{took:.0f}", f"{forecast.carried(prunable, 'macs') / total:.3f}",
        f"{least / total:.3f}", f"{all_halves.removal.float64:.1e}", f"{all_halves.removal.float32:.1e}",
        f"{exported.parity.norm_rel:.1e}", *(f"{share:.3f}: {t}" for share, t in zip(shares, times, strict=False)),
        times[-1],
    ]  # fmt: skip


def main(arguments: Sequence[str]) -> None:
    """Print the table, row by row."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", default=[*NETWORKS], metavar="NAME")
    parser.add_argument("--blocks", type=int, help="at most, of every network")
    parser.add_argument("--seconds", type=float, default=60.0, help="of timing for each network")
    asked = parser.parse_args(arguments)
    warnings.simplefilter("ignore")
    print(f"| {' | '.join(COLUMNS)} |\n|{' --- |' * len(COLUMNS)}", flush=True)
    for name in asked.names:
        blocks = min(asked.blocks or NETWORKS[name].blocks, NETWORKS[name].blocks)
        with tempfile.TemporaryDirectory() as folder:
            print(f"| {' | '.join(row(name, blocks, asked.seconds, Path(folder)))} |", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
