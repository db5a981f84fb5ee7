"""The sweep over real architectures, tried on small ones."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import compressor

SWEEP = Path(compressor.__file__).parent.parent / "benchmarks" / "architectures.py"
BROKEN = '''
from torch import nn


class Net(nn.Module):
    """Fails in its forward pass."""

    input_shape = (3, 8, 8)

    def forward(self, x):
        raise ValueError("no forward today")


def build():
    return Net()
'''


def sweep(folder, *arguments):
    """What the sweep prints, and its report by network."""
    command = [sys.executable, str(SWEEP), *arguments, "--no-onnx", "--out", "sweep.json"]
    done = subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True, timeout=300)
    report = json.loads((folder / "sweep.json").read_text())
    return done.stdout, {network["network"]: network for network in report["networks"]}


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sweep")
    (folder / "broken.py").write_text(BROKEN)
    return folder, *sweep(folder, "lenet5", "broken.py:build", "--keep", "kept")


def test_a_network_loses_another_share_of_every_group_and_is_compared(swept):
    lenet = swept[2]["lenet5"]
    assert (lenet["groups"], lenet["channels"], lenet["excluded"]) == (3, 20 + 50 + 500, {})
    assert lenet["prunable_macs"] == 1
    one, two, three = (all_of - gone for all_of, gone in zip((20, 50, 500), lenet["removed"].values(), strict=True))
    assert len({one / 20, two / 50, three / 500}) == 3
    assert lenet["macs_left"] == one * 25 * 24 * 24 + two * one * 25 * 64 + three * two * 16 + 10 * three
    assert lenet["float64"] <= 1e-9
    assert lenet["reloaded"] == 0


def test_a_network_that_fails_says_why_and_the_others_go_on(swept):
    assert swept[2]["broken.py:build"]["failure"].endswith(
        "does not accept an input of 3x8x8 (--input-shape): no forward today"
    )


def test_the_table_has_a_row_for_every_network(swept):
    rows = [line.split(" | ")[0] for line in swept[1].splitlines() if line.startswith("| ")]
    assert rows[2:] == ["| lenet5", "| broken.py:build"]


def test_what_is_kept_is_not_examined_again(swept):
    folder, _, first = swept
    kept = folder / "kept" / "lenet5.json"
    kept.write_text(json.dumps({**first["lenet5"], "groups": 77}))
    assert sweep(folder, "lenet5", "--keep", "kept")[1]["lenet5"] == {**first["lenet5"], "groups": 77}


def test_a_network_that_takes_too_long_is_ended(tmp_path):
    found = sweep(tmp_path, "lenet5", "--timeout", "0.2")[1]
    assert found["lenet5"] == {"network": "lenet5", "failure": "not done after 0.2 s"}
