"""Every pattern of the zoo: what is found, what is refused, and that removal changes nothing."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from zoo_networks import PATTERNS
from zoo_tools import groups_of, quick_parity, seeded, small_of, with_zeros

from compressor import checkpoints
from compressor.equivalence import call, output_difference, outputs, relative_difference
from compressor.groups import find_groups, is_zero
from compressor.inputs import Examples, cast
from compressor.precision import in_precision
from compressor.shrinking import remove_zero_channels
from compressor.splitting import Splitting
from compressor.structures import tensors
from compressor.surgery import remove

every = pytest.mark.parametrize("pattern", PATTERNS, ids=lambda pattern: pattern.name)
removable = pytest.mark.parametrize("pattern", [p for p in PATTERNS if p.groups], ids=lambda pattern: pattern.name)


def parameters(model):
    return sum(parameter.numel() for parameter in model.parameters())


@every
def test_the_groups_that_can_be_removed_are_found(pattern):
    assert {group.name: group.channels for group in groups_of(pattern) if group.prunable} == pattern.groups


@every
def test_what_cannot_be_removed_says_why(pattern):
    found = {group.name: group.excluded for group in groups_of(pattern) if group.excluded}
    assert all(re.search(reason, found[name]) for name, reason in pattern.refused.items())
    rest = {name: reason for name, reason in found.items() if name not in pattern.refused}
    assert all(reason == "its channels are outputs of the network" for reason in rest.values())


@removable
@pytest.mark.parametrize("seed", range(2))
def test_removing_unequal_shares_changes_no_output(pattern, seed):
    model, groups = with_zeros(pattern, seed)
    shrunk = remove_zero_channels(model, pattern.inputs(), groups=groups, align=1)
    assert shrunk.removal.float64 <= 1e-9
    assert shrunk.removal.float32 <= 1e-5
    assert shrunk.removal.channels_removed == sum(int(is_zero(model, group).sum()) for group in groups)
    assert parameters(shrunk.model) < parameters(model)


@removable
def test_what_is_left_has_the_same_groups_with_fewer_channels(pattern):
    model, groups = with_zeros(pattern)
    small = small_of(pattern)
    found = {group.name: group.channels for group in find_groups(small, pattern.inputs()) if group.prunable}
    left = {group.name: group.channels - int(is_zero(model, group).sum()) for group in groups}
    # A single channel is no group any more.
    assert found == {name: channels for name, channels in left.items() if channels > 1}


@removable
def test_a_few_penalised_steps_make_zeros_that_can_be_removed(pattern):
    model, inputs = seeded(pattern).train(), pattern.inputs()
    splitting = Splitting(model, inputs, total_steps=4, target_params=0.93, align=1, groups=groups_of(pattern))
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9)
    splitting.attach(optimizer)
    for _ in range(4):
        optimizer.zero_grad()
        found = [tensor for one in Examples.of(inputs).calls for _, tensor in tensors(call(model, one))]
        sum(tensor.square().mean() for tensor in found).backward()
        optimizer.step()
    splitting.project()
    shrunk = remove_zero_channels(model, inputs, groups=splitting.groups, align=1)
    assert shrunk.removal.channels_removed > 0
    assert shrunk.removal.float64 <= 1e-9


@removable
def test_onnx_agrees_with_the_small_network(pattern, tmp_path):
    assert quick_parity(small_of(pattern), pattern.inputs(), tmp_path / "small.onnx") <= 1e-5


RELOAD = """
import sys
from pathlib import Path
import torch
from compressor import checkpoints
from compressor.equivalence import outputs
sys.path.insert(0, sys.argv[2])
from zoo_networks import PATTERNS
found = {}
for pattern in PATTERNS:
    file = Path(sys.argv[1]) / f"{pattern.name}.pt"
    if file.exists():
        found[pattern.name] = outputs(checkpoints.load(file, trust_arch=True).model, pattern.inputs())
torch.save(found, Path(sys.argv[1]) / "outputs.pt")
"""


@pytest.fixture(scope="module")
def reloaded(tmp_path_factory):
    """Every small network, and what its file computes in one fresh process."""
    folder = tmp_path_factory.mktemp("zoo")
    small = {}
    for pattern in PATTERNS:
        if pattern.groups:
            small[pattern.name] = small_of(pattern)
            checkpoints.save(
                small[pattern.name],
                folder / f"{pattern.name}.pt",
                arch=pattern.arch,
                input_shape=(3, 8, 8),
            )
    subprocess.run([sys.executable, "-c", RELOAD, str(folder), str(Path(__file__).parent)], check=True, timeout=120)
    return small, torch.load(folder / "outputs.pt", weights_only=True)


@removable
def test_a_fresh_process_reloads_it(pattern, reloaded):
    small, found = reloaded
    expected = outputs(small[pattern.name], pattern.inputs())
    assert [relative_difference(*pair) for pair in zip(expected, found[pattern.name], strict=True)] == [0.0] * len(
        expected
    )


def test_the_zoo_is_large_enough():
    assert len(PATTERNS) >= 25
    assert sum(bool(pattern.refused) for pattern in PATTERNS) >= 15


def other_half(pattern, seed):
    """How much the outputs change when the channels are removed that are not zero."""
    model, groups = with_zeros(pattern, seed)
    model, inputs = in_precision(model, torch.float64), cast(pattern.inputs(), torch.float64)
    wrong = {group.name: (~is_zero(model, group)).nonzero().flatten().tolist() for group in groups}
    return output_difference(model, remove(model, groups, wrong, inputs), inputs)


@removable
def test_removing_the_other_half_is_noticed(pattern):
    # By chance the other half of one network may be dead behind its activation.
    assert any(other_half(pattern, seed) > 1e-6 for seed in range(4))
