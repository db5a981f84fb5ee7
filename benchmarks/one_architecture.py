"""One real network: how much of it can be removed, how long finding that out takes, and is the result right?

    python benchmarks/one_architecture.py torchvision:resnet18 report.json [--side 64] [--no-onnx]

``report.json`` is written after every step, so that a process that is ended leaves what it had found.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import foreign_networks
import numpy as np
import torch
from torch import nn

from compressor import checkpoints
from compressor.alignment import Alignment
from compressor.costs import count_macs, count_parameters
from compressor.equivalence import Inputs, call, output_difference
from compressor.errors import CompressorError, first_line
from compressor.export import export_onnx
from compressor.forecast import Forecast
from compressor.groups import ChannelGroup, find_groups, zero
from compressor.groups.advice import is_output
from compressor.groups.draws import drawn
from compressor.groups.randomize import randomize
from compressor.inputs import Examples, tensors
from compressor.limits import GIB, memory_limit
from compressor.shrinking import remove_zero_channels

BATCH = 2
# More than a command allows by itself: the networks are known.
MEMORY = 16 * GIB


def main() -> None:
    """Examine the network that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("network")
    parser.add_argument("report", type=Path)
    parser.add_argument("--side", type=int)
    parser.add_argument("--no-onnx", action="store_true")
    arguments = parser.parse_args()
    with memory_limit(MEMORY):
        examine(arguments.network, arguments.side, not arguments.no_onnx, arguments.report)


def examine(ref: str, side: int | None, onnx: bool, report: Path) -> None:
    """Everything about one network; ``report`` is written after every step."""
    found: dict[str, Any] = {}
    warnings.simplefilter("ignore")  # the libraries' own
    for name, step in steps(ref, side, onnx):
        start, spent = time.perf_counter(), time.process_time()
        try:
            found |= step()
        except CompressorError as error:
            found["failure"] = f"{name}: {first_line(error)}"
        found[f"{name}_s"], found[f"{name}_cpu_s"] = time.perf_counter() - start, time.process_time() - spent
        # KiB on Linux, bytes elsewhere.
        found["peak_mib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (
            1024 if sys.platform == "linux" else 2**20
        )
        draft = report.with_suffix(".part")
        draft.write_text(json.dumps(found))
        draft.replace(report)
        if "failure" in found:
            break


def steps(ref: str, side: int | None, onnx: bool) -> Iterator[tuple[str, Callable[[], dict[str, Any]]]]:
    """The steps by name, each giving its part of the report; later ones use what earlier ones made."""
    made: dict[str, Any] = {}

    def build() -> dict[str, Any]:
        if ref in foreign_networks.NETWORKS:
            torch.manual_seed(0)
            made["model"], made["example"] = foreign_networks.NETWORKS[ref]()
        else:
            network = made["network"] = checkpoints.fresh(ref, input_shape=(3, side, side) if side else None)
            network.try_input()
            made["model"], made["example"] = network.model, network.example_input(BATCH)
        model, example = made["model"].eval(), made["example"]
        lively(model, example)
        return {
            "inputs": [list(tensor.shape[1:]) for _, tensor in tensors(Examples.of(example).calls[0])],
            "macs": count_macs(model, example),
            "parameters": count_parameters(model),
            "layers": sum(isinstance(m, nn.Linear | nn.modules.conv._ConvNd) for m in model.modules()),
        }

    def group() -> dict[str, Any]:
        made["groups"] = find_groups(made["model"], made["example"])
        return {}

    def prunable() -> dict[str, Any]:
        return shares(made["model"], made["example"], made["groups"])

    def remove() -> dict[str, Any]:
        model, example, groups = made["model"], made["example"], made["groups"]
        chosen = [group for group in groups if group.prunable]
        places = drawn(chosen, torch.Generator().manual_seed(0))
        for group in chosen:
            zero(model, group, places[group.name])
        shrunk = remove_zero_channels(model, example, groups=groups, align=1)
        made["small"] = shrunk.model
        return {
            "removed": {name: len(of_it) for name, of_it in places.items()},
            "float64": shrunk.removal.float64,
            "float32": shrunk.removal.float32,
            "macs_left": count_macs(shrunk.model, example),
            "parameters_left": count_parameters(shrunk.model),
        }

    def reload() -> dict[str, Any]:
        if "network" not in made:
            return {}
        small = made["network"].with_model(made["small"])
        with tempfile.TemporaryDirectory() as folder:
            checkpoints.save(small, f"{folder}/small.pt")
            again = checkpoints.load(f"{folder}/small.pt", trust_arch=True).model
        return {"reloaded": output_difference(small.model, again, made["example"])}

    def export() -> dict[str, Any]:
        with tempfile.TemporaryDirectory() as folder:
            exported = export_onnx(made["small"], made["example"], f"{folder}/small.onnx")
        return {"onnx": exported.parity.norm_rel, "exporter": exported.exporter, "fallback": exported.fallback}

    every = {"build": build, "group": group, "prunable": prunable, "remove": remove, "reload": reload, "export": export}
    yield from ((name, step) for name, step in every.items() if onnx or name != "export")


@torch.no_grad()
def lively(model: nn.Module, inputs: Inputs) -> None:
    """Random scales and biases, and the statistics that go with them: zeros and ones hide faults."""
    randomize(model, torch.Generator().manual_seed(0))
    norms = [m for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    for norm in norms:
        norm.train()
        norm.momentum = 1.0
    for example in Examples.of(inputs).calls:
        call(model, example)
    for norm in norms:
        norm.eval()
        norm.momentum = 0.1


def shares(model: nn.Module, example: Inputs, groups: Sequence[ChannelGroup]) -> dict[str, Any]:
    """How much of the network could go: groups, channels, and MACs of the layers that lose channels."""
    prunable = [group.prunable for group in groups]
    forecast = Forecast(model, example, groups, Alignment())
    dense, least = forecast.macs.total(), forecast.least(prunable, "macs")
    nothing = forecast.macs.total(np.where(prunable, 0, forecast.macs.channels))
    reasons = Counter(g.excluded for g in groups if g.excluded is not None and not is_output(g.excluded))
    return {
        "groups": sum(prunable),
        "channels": sum(group.channels for group in groups if group.prunable),
        "excluded": dict(reasons.most_common()),
        "prunable_macs": 1 - nothing / dense,
        "least_macs": None if least is None else least / dense,
    }


if __name__ == "__main__":
    main()
