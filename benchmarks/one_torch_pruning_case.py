"""One structure of Torch-Pruning's tests, pruned by one of the two tools: is the result right?

    python benchmarks/one_torch_pruning_case.py CASE torch-pruning|compressor report.json

Half of the channels go. The result is compared in float64 with a network of the full size in which exactly these
channels are zero; of Torch-Pruning's also everything that reads them, so that only what it removes counts.
"""

from __future__ import annotations

import argparse
import copy
import json
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch_pruning as tp
from one_architecture import lively
from torch import nn
from torch_pruning_list import Case, cases

from compressor import checkpoints
from compressor.costs import count_macs, count_parameters
from compressor.equivalence import FLOAT64_LIMIT, Inputs, each, outputs, relative_difference
from compressor.errors import first_line
from compressor.groups import find_groups, zero
from compressor.surgery import remove

RATIO = 0.5
NORMS = tuple(
    getattr(tp, f"prune_{kind}_{side}_channels") for kind in ("layernorm", "groupnorm") for side in ("out", "in")
)


@dataclass(frozen=True)
class Pruned:
    """A smaller network, and the one of full size that it must equal."""

    expected: nn.Module
    small: nn.Module
    reload: Callable[[nn.Module, Path], nn.Module]
    """Writes the smaller network, in float32, to a file, and reads it."""
    reasons: tuple[str, ...] = ()
    """What the tool says: why some channels are left alone, or what it warns of."""


def main() -> None:
    """Prune the case that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("case")
    parser.add_argument("tool", choices=TOOLS)
    parser.add_argument("report", type=Path)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")  # the libraries' own
    found = examined(cases()[arguments.case], arguments.tool)
    arguments.report.write_text(json.dumps(found))


def examined(case: Case, tool: str) -> dict[str, Any]:
    """Verdict and figures of one tool on one case."""
    model = prepared(case)
    case.options(model)  # what is wrong with the case is no fault of a tool
    start = time.perf_counter()
    try:
        pruned = TOOLS[tool](case, model)
    except Exception as error:  # whatever a tool raises is its verdict
        return _crash("while it prunes", error)
    inputs = _doubled(case.inputs(2))
    found = {"seconds": time.perf_counter() - start, **judged(pruned, inputs)}
    if tool == "torch-pruning" and found["verdict"] == "WRONG":
        spared = torch_pruned(case, prepared(case), spare_norms=True)
        found["but_for_norms"] = judged(spared, inputs)
    if case.reload and "parameters" in found:
        found["reloaded"] = _reloaded(pruned, case.inputs(2))
    return found


def judged(pruned: Pruned, inputs: Inputs) -> dict[str, Any]:
    """Is the small network the same as that of full size? equal, WRONG, crashes, or nothing removed."""
    left = count_parameters(pruned.small) / count_parameters(pruned.expected)
    if left == 1:
        return {"verdict": "nothing removed", "reasons": list(pruned.reasons)}
    expected = outputs(pruned.expected, inputs)
    try:
        found = outputs(pruned.small, inputs)
    except Exception as error:  # whatever foreign code raises on a shape it did not expect
        return _crash("when the result runs", error)
    difference = max(relative_difference(one, other) for one, other in zip(expected, found, strict=True))
    return {
        "verdict": "equal" if difference <= FLOAT64_LIMIT else "WRONG",
        "difference": difference,
        "parameters": left,
        "macs": count_macs(pruned.small, inputs) / count_macs(pruned.expected, inputs),
        "reasons": list(pruned.reasons),
    }


def _crash(when: str, error: Exception) -> dict[str, Any]:
    return {"verdict": "crashes", "why": f"{when}: {type(error).__name__}: {first_line(error)}"}


def _doubled(inputs: Inputs) -> Inputs:
    return each(inputs, lambda tensor: tensor.double())


@torch.no_grad()
def prepared(case: Case) -> nn.Module:
    """The network in float64, trained-like, and with no two numbers alike in a parameter."""
    torch.manual_seed(0)
    model = case.build().double().eval()
    lively(model, _doubled(case.inputs(2)))
    generator = torch.Generator().manual_seed(1)
    for parameter in model.parameters():
        parameter.mul_(1 + 1e-3 * torch.rand(parameter.shape, generator=generator, dtype=torch.float64))
    return model


def torch_pruned(case: Case, model: nn.Module, spare_norms: bool = False) -> Pruned:
    """By Torch-Pruning, with the arguments of its own test of this structure."""
    original = copy.deepcopy(model)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        pruner = _pruner(case, model, _doubled(case.inputs(1)))
        for group in pruner.step(interactive=True):
            if not (spare_norms and any(dep.handler in NORMS for dep, _ in group)):
                group.prune()
    case.mended(model)

    def reload(small: nn.Module, path: Path) -> nn.Module:
        again = case.build().eval()
        if case.reload == "history":
            torch.save({"model": small.state_dict(), "pruning": pruner.pruning_history()}, path)
            saved = torch.load(path)
            _pruner(case, again, case.inputs(1)).load_pruning_history(saved["pruning"])
            again.load_state_dict(saved["model"])
            return again
        torch.save(tp.state_dict(small), path)
        return tp.load_state_dict(again, torch.load(path, weights_only=False))

    warned = tuple(str(warning.message) for warning in said if "torch_pruning" in Path(warning.filename).parts)
    return Pruned(masked(original, model), model, reload, warned)


def _pruner(case: Case, model: nn.Module, inputs: Inputs) -> Any:
    """A pruner as the test makes it."""
    # Dictionaries of its own: the default ones are shared between pruners.
    options = {"pruner": tp.pruner.BasePruner, "in_channel_groups": {}, "out_channel_groups": {}}
    options |= {"importance": tp.importance.MagnitudeImportance(p=2), **case.options(model)}
    ignored = [model.get_submodule(name) for name in case.heads]
    make = options.pop("pruner")
    return make(model, inputs, pruning_ratio=RATIO, ignored_layers=ignored, **options)


@torch.no_grad()
def masked(model: nn.Module, small: nn.Module) -> nn.Module:
    """``model`` with zeros for all numbers that ``small`` no longer has: no two in a parameter are alike."""
    kept = dict(small.named_parameters())
    for name, parameter in model.named_parameters():
        if kept[name].shape != parameter.shape:
            parameter.mul_(torch.isin(parameter, kept[name]))
    return model


def compressed(case: Case, model: nn.Module) -> Pruned:
    """By this project: a random half of the channels of every group that can be removed."""
    inputs = _doubled(case.inputs(2))
    groups = find_groups(model, inputs)
    generator = torch.Generator().manual_seed(0)
    gone = {
        group.name: torch.randperm(group.channels, generator=generator)[: int(RATIO * group.channels)]
        for group in groups
        if group.prunable
    }
    for group in groups:
        if group.prunable:
            zero(model, group, gone[group.name])
    small = remove(model, groups, {name: channels.tolist() for name, channels in gone.items()}, inputs)
    return Pruned(
        model, small, partial(_reload, case), tuple(f"{g.name}: {g.excluded}" for g in groups if g.excluded is not None)
    )


def _reload(case: Case, small: nn.Module, path: Path) -> nn.Module:
    checkpoints.save(small, path, arch=case.name, input_shape=case.inputs(1).shape[1:])
    return checkpoints.load(path, trust_arch=True).model


def _reloaded(pruned: Pruned, inputs: Inputs) -> str:
    """Does the pruned network come back from a file?"""
    with tempfile.TemporaryDirectory() as folder:
        try:
            small = copy.deepcopy(pruned.small).float()
            again = pruned.reload(small, Path(folder) / "pruned.pt")
            pairs = zip(outputs(small, inputs), outputs(again, inputs), strict=True)
            return "equal" if all(torch.equal(*pair) for pair in pairs) else "WRONG"
        except Exception as error:  # whatever a tool raises is its verdict
            return f"{type(error).__name__}: {first_line(error)}"


TOOLS: dict[str, Callable[[Case, nn.Module], Pruned]] = {"torch-pruning": torch_pruned, "compressor": compressed}

if __name__ == "__main__":
    main()
