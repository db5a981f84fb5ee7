"""Passes that repeat only what a change reaches."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from compressor.groups.replay import Replay

CALLS: list[str] = []


class Counting(nn.Linear):
    """Counts its calls where no module's attribute changes."""

    def forward(self, x):
        CALLS.append("called")
        return super().forward(x)


class Keeping(nn.Linear):
    """Keeps what it gave for others to read."""

    def forward(self, x):
        self.kept = super().forward(x)
        return self.kept


@torch.no_grad()
def after(first, second, x, *, complete=False):
    """What ``second`` gives after a pass of ``first``, which shares its modules, and how many `Counting` run then."""
    replay = Replay(first)
    with replay.recording():
        first(x)
    CALLS.clear()
    with replay.replaying(complete=complete):
        out = second(x.clone())
    return out, len(CALLS)


@pytest.mark.parametrize(("complete", "calls"), [(False, 0), (True, 2)])
def test_what_is_called_as_before_runs_in_a_complete_pass_only(complete, calls):
    network, x = nn.Sequential(Counting(3, 3), nn.ReLU(), Counting(3, 3)), torch.randn(2, 3)
    out, count = after(network, network, x, complete=complete)
    assert count == calls
    torch.testing.assert_close(out, network(x))


def test_what_gets_other_arguments_runs():
    shared, x = Counting(3, 3), torch.randn(2, 3)
    second = nn.Sequential(nn.Linear(3, 3), shared)
    out, count = after(nn.Sequential(nn.Linear(3, 3), shared), second, x)
    assert count == 1
    torch.testing.assert_close(out, second(x))


def test_what_was_written_over_is_not_given_again():
    shared, x = Counting(3, 3), torch.randn(2, 3)
    out, count = after(nn.Sequential(shared, nn.ReLU(inplace=True)), nn.Sequential(shared), x)
    assert count == 1
    torch.testing.assert_close(out, shared(x))


def test_a_network_that_keeps_things_between_its_modules_runs_as_a_whole():
    network, x = nn.Sequential(Keeping(3, 3), Counting(3, 3)), torch.randn(2, 3)
    assert after(network, network, x)[1] == 1


def test_the_innermost_module_of_an_error_is_named_and_modules_are_called_as_ever_afterwards():
    network = nn.Sequential(nn.Sequential(nn.Linear(3, 3)), nn.Linear(4, 3))
    replay, before = Replay(network), nn.Module.__call__
    with pytest.raises(RuntimeError), replay.replaying(complete=True):
        network(torch.randn(2, 3))
    assert replay.failed is network[1]
    assert nn.Module.__call__ is before
