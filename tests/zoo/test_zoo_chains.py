"""Random sequences of blocks: whatever is found to be removable is removed, and changes nothing."""

from __future__ import annotations

import pytest
import torch
from zoo_chains import random_network
from zoo_parts import image

from compressor.groups import find_groups, zero
from compressor.shrinking import remove_zero_channels


def shrunk(seed):
    """What removal did to one random network, in which random channels are zero."""
    model, blocks = random_network(seed)
    inputs = image()
    groups = [group for group in find_groups(model, inputs) if group.prunable]
    generator = torch.Generator().manual_seed(seed)
    for group in groups:
        dead = torch.rand(group.channels, generator=generator) < torch.rand(1, generator=generator)
        zero(model, group, dead)
    return remove_zero_channels(model, inputs, groups=groups, align=1), blocks


def check(seeds):
    """How many channels were removed in all; a wrong output raises, and says in which network."""
    removed = 0
    for seed in seeds:
        try:
            result, _ = shrunk(seed)
        except Exception as error:
            raise AssertionError(f"network {seed} of {random_network(seed)[1]}") from error
        removed += result.removal.channels_removed
    return removed


def test_random_networks_are_shrunk_without_a_wrong_output():
    assert check(range(20)) > 20 * 3


@pytest.mark.slow
@pytest.mark.parametrize("start", range(20, 500, 48))
def test_five_hundred_are_too(start):
    assert check(range(start, start + 48)) > 48 * 3
