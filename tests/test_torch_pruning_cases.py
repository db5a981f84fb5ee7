"""The comparison over Torch-Pruning's own structures: its cases, its verdicts, and what it says about them."""

from __future__ import annotations

import copy
from functools import partial

import one_torch_pruning_case as one
import pytest
import torch
import torch_pruning_cases
from torch import nn
from torch_pruning_list import Case, cases, small, vectors

TOOLS = sorted(one.TOOLS)
INPUTS = torch.randn(2, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def perceptron(hidden):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(8, hidden), nn.ReLU(), nn.Linear(hidden, 3)).double()


class Permuting(nn.Module):
    """Mixes the channels up in a way that depends on how many there are."""

    def __init__(self):
        super().__init__()
        self.first, self.head = nn.Linear(8, 12), nn.Linear(12, 3)

    def forward(self, x):
        x = self.first(x)
        return self.head(x[:, torch.randperm(x.shape[1], generator=torch.Generator().manual_seed(1))])


def judged(expected, found):
    return one.judged(one.Pruned(expected, found, lambda model, path: model), INPUTS)["verdict"]


def row(theirs, ours, **more):
    return {"case": "net", "follows": "test", "torch-pruning": theirs, "compressor": ours, **more}


@pytest.mark.parametrize("tool", TOOLS)
@pytest.mark.parametrize("name", ["concat", "cascaded concat", "shortcut"])
def test_both_tools_remove_channels_of_concatenations_and_shortcuts_rightly(name, tool):
    found = one.examined(cases()[name], tool)
    assert (found["verdict"], found["macs"] < 0.5) == ("equal", True)


def test_a_smaller_network_without_the_zeroed_channels_is_equal():
    model = perceptron(8)
    smaller = copy.deepcopy(model)
    smaller[0].weight, smaller[0].bias = nn.Parameter(model[0].weight[2:]), nn.Parameter(model[0].bias[2:])
    smaller[2].weight = nn.Parameter(model[2].weight[:, 2:])
    assert judged(one.masked(model, smaller), smaller) == "equal"


def test_a_smaller_network_with_other_outputs_is_wrong():
    assert judged(perceptron(8), perceptron(4)) == "WRONG"


def test_a_network_that_no_longer_runs_crashes():
    broken = perceptron(8)
    broken[0] = nn.Linear(8, 4).double()
    assert judged(perceptron(8), broken) == "crashes"


def test_an_unchanged_network_had_nothing_removed():
    assert judged(perceptron(8), perceptron(8)) == "nothing removed"


def test_channels_that_pass_a_layer_norm_differ_in_torch_pruning_and_go_here():
    theirs, ours = (one.examined(cases()["bare parameter"], tool) for tool in ("torch-pruning", "compressor"))
    assert (theirs["verdict"], theirs["but_for_norms"]["verdict"], ours["verdict"]) == ("WRONG", "equal", "equal")
    assert ours["macs"] < theirs["but_for_norms"]["macs"]


def test_code_that_permutes_by_the_width_makes_torch_pruning_wrong_and_is_left_alone_here():
    case = Case(name="permuting", follows="none", build=Permuting, inputs=vectors(8))
    theirs, ours = (one.examined(case, tool) for tool in ("torch-pruning", "compressor"))
    assert (theirs["verdict"], ours["verdict"]) == ("WRONG", "nothing removed")
    assert "changes the output" in " ".join(ours["reasons"])


@pytest.mark.parametrize("case", small(), ids=lambda case: case.name)
def test_every_small_case_has_its_heads_and_takes_its_inputs(case):
    model = one.prepared(case)
    assert all(isinstance(model.get_submodule(name), nn.Conv2d | nn.Linear) for name in case.heads)
    for parameter in model.parameters():
        assert parameter.unique().numel() == parameter.numel()


def test_the_table_tells_silence_from_a_reason():
    nothing = partial(dict, verdict="nothing removed")
    text = torch_pruning_cases.table([row(nothing(reasons=[]), nothing(reasons=["first: it is frozen"]))])
    assert "| nothing removed, silently | - | - | nothing removed, and says why | - | - |" in text


def test_a_process_that_was_ended_gave_no_answer():
    found = torch_pruning_cases.in_a_process(["-c", "import time; time.sleep(60)"], timeout=0.2)
    assert torch_pruning_cases._words(torch_pruning_cases._ended(found)) == "no answer: not done after 0.2 s"


def test_the_summary_counts_pairs_of_verdicts():
    rows = [row({"verdict": "WRONG"}, {"verdict": "equal"})] * 2 + [row({"verdict": "equal"}, {"verdict": "equal"})]
    assert torch_pruning_cases.summary(rows).splitlines()[2:] == ["| WRONG | equal | 2 |", "| equal | equal | 1 |"]


def test_without_torchvision_the_small_cases_are_left(monkeypatch, capsys):
    monkeypatch.setitem(__import__("sys").modules, "torchvision", None)
    assert torch_pruning_cases._runnable() == [case.name for case in small()]
    assert "torchvision is left out" in capsys.readouterr().err
