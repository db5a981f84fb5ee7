"""Every branch that is said to go as a whole does, alone and with others, and costs what is said without it."""

from __future__ import annotations

import pytest
import torch
from zoo_networks import PATTERNS
from zoo_tools import groups_of, quick_parity, seeded, with_zeros

from compressor.channels import branches, zero
from compressor.checkpoints.structure import difference, replay
from compressor.costs import cost_model, count_macs, count_parameters
from compressor.equivalence import output_difference
from compressor.shrinking import remove_zero_channels

removable = pytest.mark.parametrize("pattern", [p for p in PATTERNS if p.groups], ids=lambda pattern: pattern.name)


def prunable(pattern):
    return [group for group in groups_of(pattern) if group.prunable]


@removable
def test_a_branch_alone_leaves_what_the_costs_say(pattern):
    inputs, groups = pattern.inputs(), prunable(pattern)
    for places in branches(groups).values():
        model, kept = seeded(pattern), [group.channels for group in groups]
        for place in places:
            zero(model, groups[place], torch.arange(groups[place].channels))
            kept[place] = 0
        expected = [cost_model(model, inputs, groups, kind).total(kept) for kind in ("macs", "params")]
        shrunk = remove_zero_channels(model, inputs, groups=groups, align=1)
        assert [after for _, after in shrunk.channels.values()] == kept
        assert [count_macs(shrunk.model, inputs), count_parameters(shrunk.model)] == expected


@removable
def test_all_branches_go_where_other_groups_shrink(pattern, tmp_path):
    model, groups = with_zeros(pattern)
    gone = [group for group in groups if group.branch is not None]
    for group in gone:
        zero(model, group, torch.arange(group.channels))
    if not gone:
        return
    shrunk = remove_zero_channels(model, pattern.inputs(), groups=groups, align=1)
    assert all(shrunk.channels[group.name][1] == 0 for group in gone)
    again = seeded(pattern)
    replay(again, difference(seeded(pattern), shrunk.model))
    again.load_state_dict(shrunk.model.state_dict())
    assert output_difference(shrunk.model, again.eval(), pattern.inputs()) == 0.0
    assert quick_parity(shrunk.model, pattern.inputs(), tmp_path / "small.onnx") <= 1e-5


def test_the_zoo_has_branches_of_many_kinds():
    assert sum(bool(branches(prunable(pattern))) for pattern in PATTERNS if pattern.groups) >= 15
