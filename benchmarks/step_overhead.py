"""What does a penalty add to a training step?

Times what our splitting adds to a training step (one pull every second step, and the refreshes of the selection
spread over a training), the bare SGD-momentum step of torch (foreach) and `regularize` of Torch-Pruning's
GroupNormPruner, in turns on the same gradients, and prints the medians of the ratios with their quartiles over
rounds. With a GPU the fused SGD step is the yardstick.

    python benchmarks/step_overhead.py --threads 1 2 4 --out step_overhead.json
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import torch_pruning
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from compressor import Splitting
from compressor.architectures.cifar_resnet import resnet20
from compressor.files import write_text
from compressor.penalties import PENALTIES
from compressor.splitting.schedule import PULL_EVERY, REFRESHES, SELECTED

LEARNING_RATE = 1e-6


class Bottleneck(nn.Module):
    """The block of ResNet-50 (He et al., 2015), with a convolution on the shortcut where the shape changes."""

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(inputs, width, 1, bias=False), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = nn.Conv2d(width, width, 3, stride, 1, bias=False), nn.BatchNorm2d(width)
        self.conv3, self.bn3 = nn.Conv2d(width, 4 * width, 1, bias=False), nn.BatchNorm2d(4 * width)
        same = inputs == 4 * width
        self.shortcut = (
            nn.Identity()
            if same
            else nn.Sequential(nn.Conv2d(inputs, 4 * width, 1, stride, bias=False), nn.BatchNorm2d(4 * width))
        )

    def forward(self, x: Tensor) -> Tensor:
        """Three convolutions beside the shortcut."""
        out = torch.relu(self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x))))))
        return torch.relu(self.bn3(self.conv3(out)) + self.shortcut(x))


def resnet50() -> nn.Module:
    """ResNet-50 with 25.6 million parameters."""
    layers: list[nn.Module] = [nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(2)]
    inputs = 64
    for width, blocks in ((64, 3), (128, 4), (256, 6), (512, 3)):
        for block in range(blocks):
            layers.append(Bottleneck(inputs, width, 2 if block == 0 and width > 64 else 1))
            inputs = 4 * width
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inputs, 1000))


class EncoderBlock(nn.Module):
    """A pre-norm transformer block of ViT-B (Dosovitskiy et al., 2021)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads, self.norm1, self.norm2 = heads, nn.LayerNorm(width), nn.LayerNorm(width)
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))
        self.out, self.fc1, self.fc2 = nn.Linear(width, width), nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Attention, then the MLP whose hidden channels can go."""
        y = self.norm1(x)
        parts = [part(y).unflatten(2, (self.heads, -1)).transpose(1, 2) for part in (self.query, self.key, self.value)]
        x = x + self.out(nn.functional.scaled_dot_product_attention(*parts).transpose(1, 2).flatten(2))
        hidden: Tensor = nn.functional.gelu(self.fc1(self.norm2(x)))
        return x + self.fc2(hidden)


class Vit(nn.Module):
    """A network of the size of ViT-B/16: 86 million parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 768, 16, 16)
        self.blocks = nn.Sequential(*(EncoderBlock(768, 12) for _ in range(12)))
        self.norm, self.head = nn.LayerNorm(768), nn.Linear(768, 1000)

    def forward(self, x: Tensor) -> Tensor:
        """Class scores from the mean over the patches."""
        scores: Tensor = self.head(self.norm(self.blocks(self.patches(x).flatten(2).transpose(1, 2))).mean(1))
        return scores


NETWORKS: Mapping[str, Callable[[], nn.Module]] = {"ResNet-20": resnet20, "ResNet-50": resnet50, "ViT-B/16": Vit}


def our_steps(
    model: nn.Module, example: Tensor, steps: int, penalties: Sequence[str]
) -> tuple[dict[str, Callable[[], None]], float]:
    """A pull of each penalty, and the seconds of a refresh of the selection spread over ``steps``."""
    found: dict[str, Callable[[], None]] = {}
    channel_groups, refresh = None, 0.0
    for penalty in penalties:
        splitting = Splitting(
            model, example, total_steps=steps, penalty=penalty, target_macs=0.6, groups=channel_groups
        )
        channel_groups = splitting.groups
        splitting.step = steps // 2
        began = time.perf_counter()
        splitting.revise()
        refresh = time.perf_counter() - began
        # Behind the last refresh, with half of the channels on their way to zero.
        splitting.step = steps // 2 + 1
        found[f"V {penalty}"] = pull_of(splitting)
    return found, refresh * REFRESHES * SELECTED / steps


def pull_of(splitting: Splitting) -> Callable[[], None]:
    """One pull at this place of the schedule."""
    return lambda: splitting.pull(PULL_EVERY / splitting.total_steps)


def rival_step(model: nn.Module, example: Tensor) -> Callable[[], None]:
    """Torch-Pruning's group lasso: adds its gradient, as its users call it after every backward pass."""
    pruner = torch_pruning.pruner.GroupNormPruner(
        model, example, importance=torch_pruning.importance.GroupMagnitudeImportance(), pruning_ratio=0.5
    )
    pruner.update_regularizer()
    return lambda: pruner.regularize(model)


def timed(step: Callable[[], None], calls: int, device: torch.device) -> float:
    """Seconds of one of ``calls`` calls."""
    if device.type == "cuda":
        torch.cuda.synchronize()
    began = time.perf_counter()
    for _ in range(calls):
        step()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return (time.perf_counter() - began) / calls


def in_turns(steps: Mapping[str, Callable[[], None]], rounds: int, device: torch.device) -> dict[str, list[float]]:
    """Seconds of every step in every round; short ones are called more often, about 20 ms each."""
    calls = {}
    for name, step in steps.items():
        step()
        calls[name] = max(1, min(50, round(0.02 / timed(step, 1, device))))
    found: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(rounds):
        for name, step in steps.items():
            found[name].append(timed(step, calls[name], device))
    return found


def measure(network: str, threads: int, options: argparse.Namespace) -> list[dict[str, Any]]:
    """One row for every step on one network."""
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    device = torch.device(options.device)
    model, example = NETWORKS[network](), torch.randn(2, 3, 32, 32)
    model, example = model.to(device), example.to(device)
    for parameter in model.parameters():
        parameter.grad = torch.randn_like(parameter)
    kind = {"fused": True} if device.type == "cuda" else {"foreach": True}
    sgd = torch.optim.SGD(model.parameters(), lr=LEARNING_RATE, momentum=0.9, **kind)
    ours, refresh = our_steps(model, example, options.steps, ["none", *sorted(PENALTIES)])
    steps = {"SGD": lambda: sgd.step(), **ours}
    if not options.no_rival:
        steps["Torch-Pruning regularize"] = rival_step(model, example)
    found = in_turns(steps, options.rounds, device)
    rows = []
    for name, seconds in found.items():
        added, every = (refresh, PULL_EVERY) if name in ours else (0.0, 1)
        each = [s / every + added for s in seconds]
        ratios = [s / base for s, base in zip(each, found["SGD"], strict=True)]
        low, middle, high = statistics.quantiles(ratios, n=4)
        rows.append(
            {
                "network": network,
                "threads": threads,
                "step": name,
                "ms": 1e3 * statistics.median(each),
                "of it refreshes, ms": 1e3 * added,
                "a pull, ms": 1e3 * statistics.median(seconds) if name in ours else None,
                "ratio to SGD": middle,
                "quartiles": [low, high],
            }
        )
    return rows


def show(rows: Sequence[Mapping[str, Any]], console: Console) -> None:
    """The rows as a table."""
    table = Table("network", "threads", "step", "ms", "of it refreshes", "ratio to SGD", "quartiles")
    for row in rows:
        low, high = row["quartiles"]
        table.add_row(
            row["network"], str(row["threads"]), row["step"], f"{row['ms']:.3f}", f"{row['of it refreshes, ms']:.3f}",
            f"{row['ratio to SGD']:.2f}", f"{low:.2f} - {high:.2f}",
        )  # fmt: skip
    console.print(table)


def main() -> None:
    """Measure and print; write JSON with --out."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--networks", nargs="+", choices=list(NETWORKS), default=list(NETWORKS))
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 2, 4])
    parser.add_argument("--rounds", type=int, default=21)
    parser.add_argument("--steps", type=int, default=5000, help="steps of the training over which refreshes spread")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--no-rival", action="store_true", help="leave Torch-Pruning out; it takes most of the time")
    parser.add_argument("--out", type=Path, help="JSON file to write")
    options = parser.parse_args()
    warnings.filterwarnings("ignore", module="torch_pruning")
    rows = [
        row for threads in options.threads for network in options.networks for row in measure(network, threads, options)
    ]
    console = Console(highlight=False)
    console.width = max(console.width, 120)
    show(rows, console)
    if options.out is not None:
        document = {"kind": "step overhead", "torch": torch.__version__, "device": options.device, "rows": rows}
        write_text(options.out, json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()
