"""What compressing ResNet-50 on ImageNet costs on 1, 8 and 64 GPUs: counted and measured here, the rest arithmetic.

    python benchmarks/scaling.py --into docs/scaling.md          # 3 minutes, half an hour with --trials

Counted: operator calls of a step and the bytes that they touch, of the network and of the penalty. Measured on this
processor: what happens once, outside of the steps. Assumed: the constants below, each with its source.
"""

from __future__ import annotations

import argparse
import copy
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from step_overhead import resnet50
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from compressor import Splitting
from compressor.checkpoints import Architecture, Metadata, Network
from compressor.data.normalization import Normalization
from compressor.data.samples import Augmentation, DataSet, Samples
from compressor.files import write_text
from compressor.groups import ChannelGroup, find_groups
from compressor.penalties.l1_minus_l2 import L1MinusL2
from compressor.records.costs import Aims
from compressor.shrinking import shrink
from compressor.splitting import SplittingConfig, auxiliary
from compressor.splitting.schedule import PULL_EVERY, REFRESHES, SELECTED
from compressor.stages.trials import samples_for, seconds_of_settling
from compressor.structures import tensors

# ResNet-50 v1.5 in mixed precision, batches of 256 a GPU, on a DGX A100 with 8 A100 80GB: images a second on one GPU,
# and how many times as many on eight (NVIDIA/DeepLearningExamples, PyTorch/Classification/ConvNets/resnet50v1.5).
ONE_GPU, EIGHT = 2470.0, 6.72
BATCH, IMAGES = 256, 1_281_167
# An A100 80GB reads and writes 2.0e12 bytes a second (its data sheet); a call takes a GPU's host about 5 us.
BYTES_A_SECOND, CALL = 2.0e12, 5e-6
# A forward pass is about a third of a step.
FORWARD = 1 / 3
STEPS, EPOCHS, GPUS = 1000, (6, 30, 90), (1, 8, 64)
BEGIN, END = "<!-- figures -->", "<!-- end -->"


class Touched(TorchDispatchMode):
    """Calls of operators that compute, and the bytes of what they are given and make."""

    def __init__(self) -> None:
        super().__init__()
        self.calls, self.bytes = 0, 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run it, and count."""
        result = func(*args, **(kwargs or {}))
        if not func.is_view:
            self.calls += 1
            self.bytes += sum(tensor.nbytes for _, tensor in tensors((args, kwargs, result)))
        return result


def touched(work: Callable[[], object]) -> tuple[float, float]:
    """Calls and bytes of ``work``."""
    with Touched() as seen:
        work()
    return seen.calls, seen.bytes


def seconds(work: Callable[[], object]) -> float:
    """How long a processor works on it, whatever else goes on."""
    began = time.process_time()
    work()
    return time.process_time() - began


@contextmanager
def training(splitting: Splitting | None, model: nn.Module) -> Iterator[torch.optim.Optimizer]:
    """An optimiser that steps as in a training, in its middle."""
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-6, momentum=0.9, foreach=True)
    handle = splitting.attach(optimizer) if splitting is not None else None
    for parameter in model.parameters():
        parameter.grad = torch.randn_like(parameter)
    for _ in range(4):
        optimizer.step()
    yield optimizer
    if handle is not None:
        handle.remove()


def added(model: nn.Module, example: Tensor, groups: Sequence[ChannelGroup], penalty: str) -> tuple[float, float]:
    """Calls and bytes that a penalty adds to a step: the mean of two, of which one pulls."""
    with training(None, model) as optimizer:
        plain = touched(optimizer.step)
    splitting = Splitting(model, example, penalty=penalty, target_macs=0.5, total_steps=STEPS, groups=groups)
    # On the CPU l1-l2 reads values back and batches are small, which is quicker there; counted is what a GPU is asked.
    with (
        patch.object(L1MinusL2, "_by_reading", L1MinusL2._without_reading),
        patch.dict(auxiliary.BATCH, cpu=auxiliary.BATCH_ELSEWHERE),
        training(splitting, model) as optimizer,
    ):
        pulled = [touched(optimizer.step) for _ in range(PULL_EVERY)]
    calls, size = (sum(step[place] for step in pulled) / PULL_EVERY - plain[place] for place in (0, 1))
    return calls, size


def once(model: nn.Module, example: Tensor, options: argparse.Namespace) -> tuple[dict[str, float], Any]:
    """Seconds of what happens outside of the steps, on one processor."""
    found: dict[str, float] = {}
    groups: Any = None

    def find() -> None:
        nonlocal groups
        groups = find_groups(model, example)

    found["channel groups, traced and probed"] = seconds(find)
    splitting = Splitting(model, example, target_macs=0.5, total_steps=STEPS, groups=groups)
    splitting.step = STEPS // 4
    found["a selection of channels"] = seconds(splitting.revise)
    if options.trials:
        network = Network(model, Metadata(architecture=Architecture("resnet50"), input_shape=(3, 224, 224)))
        config = SplittingConfig(target_macs=0.5, trials=24)
        images = torch.randint(0, 256, (samples_for(network), 3, 224, 224), dtype=torch.uint8)
        part = Samples(images, torch.arange(len(images)) % 1000)
        names = tuple(map(str, range(1000)))
        data = DataSet(
            ref="drawn", train=part, val=part, test=part, classes=names, normalization=Normalization.parse("imagenet"),
            augmentation=Augmentation(), split_seed=0, val_fraction=0.1,
        )  # fmt: skip
        with patch("time.perf_counter", time.process_time):
            found["24 trials of the channels"] = seconds_of_settling(network, data, config, groups, Aims(), 0)
    splitting.step = STEPS
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # nothing was trained, so that a gap is left
        found["projection"] = seconds(splitting.project)
    found["removal, with its proofs"] = seconds(lambda: shrink(model, example))
    return found, groups


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Markdown."""
    return "\n".join("| " + " | ".join(row) + " |" for row in [head, ["---"] * len(head), *rows])


def page(options: argparse.Namespace) -> str:
    """The counted, the measured and the arithmetic."""
    torch.manual_seed(0)
    model, example = resnet50().eval(), torch.randn(1, 3, 224, 224)
    fixed, groups = once(copy.deepcopy(model), example, options)
    labels, small = torch.tensor([0, 1]), torch.randn(2, 3, 64, 64)

    def backward() -> None:
        nn.functional.cross_entropy(model(small), labels).backward()

    model.train()
    calls, _ = touched(backward)
    with training(None, model) as optimizer:
        step = touched(optimizer.step)
    own = {name: added(model, example, groups, name) for name in ("none", "l1-l2")}
    network_seconds = BATCH / ONE_GPU
    counted = [("forward, backward", f"{calls:,.0f}", "", f"{1e3 * network_seconds:.1f} (from images a second)")]
    for name, (number, size) in {"SGD, momentum": step, **{f"`--penalty {name}`": own[name] for name in own}}.items():
        counted.append((name, f"{number:,.0f}", f"{size / 1e6:,.0f}", f"{1e3 * on_gpu(number, size):.2f}"))
    serial = sum(fixed.values()) + fixed["a selection of channels"] * (REFRESHES * SELECTED - 1)
    rows = [arithmetic(gpus, epochs, on_gpu(*own["l1-l2"]), serial) for epochs in EPOCHS for gpus in GPUS]
    return "\n\n".join(
        [
            table(("in a step", "calls", "MB touched", "ms on an A100"), counted),
            table(
                ("once", "seconds on one core here"),
                [(name, f"{taken:.1f}") for name, taken in fixed.items()]
                + [(f"all of it, with {REFRESHES * SELECTED:.0f} selections", f"{serial:.0f}")],
            ),
            table(
                ("epochs", "GPUs", "steps", "training, h", "of it penalty", "asking the teacher", "once", "in all, h"),
                rows,
            ),
        ]
    )


def on_gpu(calls: float, size: float) -> float:
    """Seconds of so many calls that touch so many bytes: whichever limits."""
    return max(calls * CALL, size / BYTES_A_SECOND)


def arithmetic(gpus: int, epochs: int, penalty: float, serial: float) -> tuple[str, ...]:
    """A row: the network's own time by NVIDIA's figures, what the penalty and a teacher add, and what happens once."""
    # Beyond one machine as on eight: gradients are exchanged while the backward pass goes on.
    scaling = 1.0 if gpus == 1 else EIGHT / 8
    steps = epochs * (IMAGES // (BATCH * gpus))
    step = BATCH / ONE_GPU / scaling
    own, asking = steps * step, steps * step * FORWARD
    extra = steps * penalty / scaling
    training_seconds = own + extra + asking
    whole = training_seconds + serial
    return (
        str(epochs),
        str(gpus),
        f"{steps:,}",
        f"{training_seconds / 3600:.2f}",
        f"{100 * extra / training_seconds:.2f} %",
        f"{100 * asking / training_seconds:.0f} %",
        f"{100 * serial / whole:.1f} %",
        f"{whole / 3600:.2f}",
    )


def main() -> None:
    """Count, measure, and write the figures into the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--into", type=Path, help="page between whose marks the figures go; else they are printed")
    parser.add_argument("--trials", action="store_true", help="measure the trials too, which take minutes")
    options = parser.parse_args()
    figures = page(options)
    if options.into is None:
        print(figures)
        return
    before, _, rest = options.into.read_text("utf-8").partition(BEGIN)
    write_text(options.into, f"{before}{BEGIN}\n\n{figures}\n\n{END}{rest.partition(END)[2]}")


if __name__ == "__main__":
    main()
