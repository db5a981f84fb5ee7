import json
from pathlib import Path

import pytest

from compressor.cli.list import KINDS


def test_inspect_says_what_is_prunable_and_why_not(tiny, compress):
    done = compress("inspect", tiny.sparse, "--trust-arch")
    assert "16 zero channels" in done.stdout
    assert "its channels are outputs of the network" in done.stdout
    assert "The least that can be reached is" in done.stdout


def test_inspect_for_machines_names_every_member(tiny, compress):
    groups = json.loads(compress("inspect", tiny.sparse, "--trust-arch", "--json").stdout)["groups"]
    assert groups[0]["members"] == ["0 (producer)", "1 (norm)", "3 (consumer)"]
    assert [group["excluded"] is None for group in groups] == [True, True, False]


def test_inspect_predicts_what_targets_would_keep(tiny, compress):
    done = compress("inspect", tiny.checkpoint, "--trust-arch")
    assert "--target-macs" in done.stdout
    assert [line.split()[0] for line in done.stdout.splitlines() if line.startswith(" 0.")] == ["0.75", "0.5", "0.25"]


TIED = """
import torch
from torch import nn


class Network(nn.Module):
    input_shape = (1, 8, 8)

    def __init__(self):
        super().__init__()
        self.stem, self.right = nn.Conv2d(1, 8, 3), nn.Conv2d(4, 4, 3, padding=1)
        self.head = nn.Conv2d(8, 3, 1)

    def forward(self, x):
        left, right = self.stem(x).relu().chunk(2, 1)
        return self.head(torch.cat([left, self.right(right).relu()], 1))
"""


def test_inspect_says_which_groups_shrink_alike(compress):
    Path("tied.py").write_text(TIED)
    assert "Always lose equally many channels: stem, stem#2." in compress("inspect", "--arch", "tied.py:Network").stdout
    groups = json.loads(compress("inspect", "--arch", "tied.py:Network", "--json").stdout)["groups"]
    assert [(group["name"], group["tie"]) for group in groups if group["tie"]] == [("stem", "stem"), ("stem#2", "stem")]


FORKED = """
import torch
from torch import nn


class Network(nn.Module):
    input_shape = (1, 8, 8)

    def __init__(self):
        super().__init__()
        self.stem, self.other, self.unused = nn.Conv2d(1, 8, 1), nn.Conv2d(8, 8, 1), nn.Conv2d(8, 8, 1)
        self.head = nn.Conv2d(8, 3, 1)

    def forward(self, x):
        y = self.stem(x).relu()
        if x.amax() > 1e6:
            y = self.other(y)
        return self.head(y + torch.randn(1).to(y))
"""


def test_inspect_says_what_one_run_does_not_show(compress):
    Path("forked.py").write_text(FORKED)
    shown = compress("inspect", "--arch", "forked.py:Network").stdout
    assert "Decides by values of the input which way to go: the network itself (forked.py, line 16)." in shown
    assert "Draws random numbers in evaluation too: the network itself; outputs are compared with the same" in shown
    assert "Never ran on the example, so nothing is known of their channels: other, unused." in shown
    found = json.loads(compress("inspect", "--arch", "forked.py:Network", "--json").stdout)
    assert found["control_flow"] == {"decides": {"": "forked.py, line 16"}, "random": [""], "idle": ["other", "unused"]}
    stem, head = (group["excluded"] for group in found["groups"])
    assert "decides by values which way to go (forked.py, line 16)" in stem
    assert head == "its channels are outputs of the network"


BLOCKED = """
from torch import nn


def build():
    # A norm across all channels, a frozen layer, and widths that are no whole step.
    network = nn.Sequential(
        nn.Conv2d(1, 6, 3), nn.GroupNorm(1, 6), nn.Conv2d(6, 8, 1), nn.ReLU(), nn.Conv2d(8, 10, 1), nn.ReLU(),
        nn.Conv2d(10, 3, 1),
    )
    network[2].requires_grad_(False)
    network.input_shape = (1, 8, 8)
    return network
"""


@pytest.fixture
def blocked(compress):
    Path("blocked.py").write_text(BLOCKED)
    return compress("inspect", "--arch", "blocked.py:build").stdout


@pytest.mark.parametrize(
    "line",
    [
        "1 normalises across all channels",
        "2 is frozen (requires_grad is off)",
        "train 2 as well: requires_grad_(True)",
        "norms of single channels (BatchNorm) for 1 and",
        "With all of that the least would be",
        "Widths off the runtime's fast path: 0 (6), ",
        "4 (10); --measure-widths times them.",
        "Frozen: 56 parameters in 2.",
    ],
)
def test_inspect_says_what_stands_in_the_way(line, blocked):
    assert line in blocked


def test_inspect_gives_every_group_of_a_residual_network_one_line(compress):
    done = compress("inspect", "--arch", "resnet20")
    assert len(done.stdout.splitlines()) < 34


def test_inspect_needs_no_checkpoint(tiny, compress):
    done = compress("inspect", "--arch", tiny.arch, "--arch-arg", "width=24", "--json")
    assert json.loads(done.stdout)["groups"][0]["channels"] == 24


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_list_knows_every_kind(kind, compress):
    rows = json.loads(compress("list", kind, "--json").stdout)
    shown = compress("list", kind)
    assert shown.exit_code == 0
    for row in rows:
        assert str(next(iter(row.values()))).split(" or ")[0] in shown.stdout


def test_list_texts_hold_no_markup(compress):
    assert "`" not in compress("list", "penalties").stdout


def test_list_of_an_unknown_kind_suggests_the_nearest(compress):
    done = compress("list", "penalty")
    assert done.exit_code == 2
    assert "no list is called 'penalty'. Did you mean 'penalties'?" in done.error[0]
