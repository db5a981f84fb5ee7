"""Networks of the user's that leave, print, or compute in another precision: one line, and results stay results."""

import json
from pathlib import Path

import pytest
import torch

NETWORKS = """
import sys
import torch
from torch import nn

print("printed while it is imported")


class Noisy(nn.Module):
    input_shape = (3, 8, 8)

    def __init__(self):
        super().__init__()
        self.conv, self.fc = nn.Conv2d(3, 8, 3), nn.Linear(8, 4)

    def forward(self, x):
        print("printed while it runs")
        return self.fc(self.conv(x).mean((2, 3)))


def noisy():
    print("printed while it is built")
    return Noisy()


def leaves():
    sys.exit(0)


def half():
    return Noisy().half()


def brain():
    return Noisy().bfloat16()


def double():
    return Noisy().double()


def lazy():
    network = nn.Sequential(nn.Flatten(), nn.LazyLinear(4))
    network.input_shape = (3, 8, 8)
    return network
"""


@pytest.fixture(autouse=True)
def _networks():
    Path("nets.py").write_text(NETWORKS)


def test_what_a_network_prints_is_no_result(compress):
    done = compress("inspect", "--arch", "nets.py:noisy", "--json")
    assert done.exit_code == 0, done.stderr
    assert json.loads(done.stdout)["architecture"] == "nets.py:noisy"
    for when in ("imported", "built"):
        assert f"printed while it is {when}" in done.stderr
    assert "printed while it runs" in done.stderr


@pytest.mark.parametrize("command", ["inspect", "fine-tune --data digits"])
@pytest.mark.parametrize(
    ("factory", "words"),
    [
        ("leaves", "nets.py:leaves failed with (): it left the process (SystemExit: 0)"),
        ("half", "the network computes in float16; convert it to float32 with .float() in its factory"),
        ("brain", "the network computes in bfloat16; convert it to float32 with .float() in its factory"),
        ("double", "the network computes in float64; convert it to float32 with .float() in its factory"),
        ("lazy", "nets.py:lazy has layers whose sizes are not known yet (1.weight); run the network once"),
    ],
)
def test_networks_that_cannot_be_used_are_named_as_what_they_are(compress, command, factory, words):
    done = compress(*command.split(), "--arch", f"nets.py:{factory}", "--input-shape", "3x8x8")
    if command == "inspect" and factory in {"half", "brain", "double"}:
        assert done.exit_code == 0
        assert "7,808 MACs" in done.stdout
        return
    assert done.exit_code == 2
    told = [line for line in done.error if not line.startswith("printed")]
    assert len(told) == 1
    if factory in {"leaves", "lazy"}:
        assert words in told[0]


def test_a_file_that_leaves_when_it_is_run_is_wrong_usage(compress):
    Path("exits.py").write_text("raise SystemExit('enough')")
    done = compress("inspect", "--arch", "exits.py:build")
    assert (done.exit_code, len(done.error)) == (2, 1)
    assert "exits.py failed when it was run: it left the process (SystemExit: enough)" in done.error[0]


def test_an_interrupt_stays_one(monkeypatch):
    from compressor.sources import Architecture

    Path("waits.py").write_text("def build():\n    raise KeyboardInterrupt\n")
    with pytest.raises(KeyboardInterrupt):
        Architecture("waits.py:build").build(trust=True)


def test_what_was_skipped_in_a_file_is_warned_of(compress):
    import argparse

    from compressor.checkpoints import fresh

    torch.save({"args": argparse.Namespace(a=1), "net": fresh("lenet5").model.state_dict()}, "m.pt")
    done = compress("inspect", "m.pt", "--arch", "lenet5")
    assert done.exit_code == 0
    assert done.stderr.splitlines()[0] == (
        "Warning: m.pt: skipped args (argparse.Namespace): only the tensors are read"
    )


@pytest.mark.parametrize(("size", "works"), [("8GB", True), ("512MB", True), ("2GiB", True), ("1000", False)])
def test_max_memory_bounds_what_an_architecture_takes(compress, size, works):
    done = compress("inspect", "--arch", "lenet5", "--max-memory", size)
    if works:
        assert done.exit_code == 0
    else:
        assert (done.exit_code, len(done.error)) == (2, 1)
        assert "of memory and at most 0.000954 MiB is allowed; --max-memory allows more" in done.error[0]


@pytest.mark.parametrize("size", ["", "0", "-1", "many", "8XB", "1e9", "nan", "9" * 5000])
def test_max_memory_is_a_size(compress, size):
    done = compress("list", "penalties", f"--max-memory={size}")
    assert (done.exit_code, len(done.error)) == (2, 1)
    assert "is not a size; write for example 8GB, 512MB or 2GiB" in done.error[0]
