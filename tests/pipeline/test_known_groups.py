"""Channel groups are found once in a run, and belong to one network."""

from pathlib import Path

import pytest
import torch

from compressor.checkpoints import fresh
from compressor.groups import find_groups, known
from compressor.groups.known import KnownGroups
from compressor.pipeline import run_stages

FILE = Path("groups.safetensors")


@pytest.fixture
def calls(monkeypatch):
    """Every call of ``find_groups``, wherever it comes from."""
    made = []

    def spy(model, example):
        made.append(model)
        return find_groups(model, example)

    for module in ("groups.known", "shrinking", "splitting.prunable", "stages.inspect"):
        monkeypatch.setattr(f"compressor.{module}.find_groups", spy)
    return made


@pytest.fixture
def run(compress, tiny, run_options):
    return lambda: compress("run", tiny.checkpoint, "--arch", tiny.arch, *run_options, "--out", "r")


def test_a_run_finds_them_once(run, calls):
    assert run().exit_code == 0
    assert len(calls) == 1


@pytest.mark.parametrize("stage", ["fine_tune", "shrink", "recover"])
def test_a_run_that_is_taken_up_does_not_find_them_again(run, calls, stage, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(run_stages, stage, lambda *args, **options: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            run()
    calls.clear()
    # What comes later needs no groups: a whole run finds them once.
    monkeypatch.setattr(run_stages, "export", lambda *args, **options: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        run()
    assert calls == []


@pytest.mark.slow
def test_a_lost_file_costs_one_search(run, calls, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(run_stages, "fine_tune", lambda *args, **options: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            run()
    calls.clear()
    Path("r/groups.safetensors").unlink()
    assert run().exit_code == 0
    assert len(calls) == 1
    assert Path("r/groups.safetensors").exists()


def network(seed=0, **options):
    return fresh("resnet20", seed=seed, **options)


@pytest.fixture
def kept():
    """The groups of a network whose file is in the folder."""
    return KnownGroups(network(), FILE).kept()


@pytest.fixture
def no_search(monkeypatch):
    monkeypatch.setattr(known, "find_groups", lambda *args: 1 / 0)


@pytest.mark.usefixtures("no_search")
def test_they_are_read_back_as_they_were(monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(known, "find_groups", find_groups)
        groups = KnownGroups(network(), FILE).kept()
    again = KnownGroups(network(), FILE).get()
    assert [(g.name, g.channels, g.excluded) for g in again] == [(g.name, g.channels, g.excluded) for g in groups]
    for one, other in zip(again, groups, strict=True):
        for member, same in zip(one.members, other.members, strict=True):
            assert (member.module, member.role, member.tensors, member.feeds) == (
                same.module, same.role, same.tensors, same.feeds
            )  # fmt: skip
            assert torch.equal(member.index, same.index)


def trained_less():
    other = network()
    other.model.layer1[0].conv1.requires_grad_(False)
    return other


@pytest.mark.parametrize(
    "other",
    [lambda: network(seed=1), lambda: network(input_shape=(1, 64, 64)), trained_less],
    ids=["weights", "input shape", "frozen"],
)
@pytest.mark.usefixtures("kept", "no_search")
def test_those_of_another_network_are_not_taken(other):
    with pytest.raises(ZeroDivisionError):
        KnownGroups(other(), FILE).get()


@pytest.mark.usefixtures("kept", "no_search")
def test_those_of_another_version_are_not_taken(monkeypatch):
    monkeypatch.setattr("compressor.checkpoints.fingerprints.__version__", "0.0.1")
    with pytest.raises(ZeroDivisionError):
        KnownGroups(network(), FILE).get()


@pytest.mark.parametrize("content", [b"", b"{", b"\x08\0\0\0\0\0\0\0{}      "])
@pytest.mark.usefixtures("kept", "no_search")
def test_a_damaged_file_is_ignored(content):
    FILE.write_bytes(content)
    with pytest.raises(ZeroDivisionError):
        KnownGroups(network(), FILE).get()


@pytest.mark.usefixtures("kept")
def test_a_file_of_another_network_is_replaced():
    before = FILE.read_bytes()
    KnownGroups(network(seed=1), FILE).kept()
    assert FILE.read_bytes() != before


def test_code_that_changed_makes_another_network():
    Path("net.py").write_text(NET)
    first = KnownGroups(fresh("net.py:Net"), FILE)._identity
    Path("net.py").write_text(NET.replace("relu()", "tanh()"))
    second = KnownGroups(fresh("net.py:Net"), FILE)._identity
    assert (first[0] == second[0], first[1] == second[1]) == (True, False)


NET = """
from torch import nn


class Net(nn.Module):
    input_shape = (1, 4, 4)

    def __init__(self):
        super().__init__()
        self.one, self.two = nn.Conv2d(1, 4, 1), nn.Conv2d(4, 2, 1)

    def forward(self, x):
        return self.two(self.one(x).relu()).mean((2, 3))
"""
