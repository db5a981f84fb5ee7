"""Networks as people hold them: wrapped, frozen, in half precision, inside no_grad."""

from __future__ import annotations

import re

import pytest
import torch
from torch import nn

import compressor.groups.dispatch
import compressor.groups.probe
from compressor.equivalence import output_difference
from compressor.errors import UsageError
from compressor.groups import find_groups, is_zero, zero
from compressor.shrinking import remove_zero_channels, shrink

IMAGE = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def compiled(model):
    # The backend does not matter: it is never run.
    return torch.compile(model, backend="eager")


def network():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 6, 3, padding=1), nn.ReLU(),
            nn.Flatten(), nn.Linear(6 * 64, 4),
        )  # fmt: skip


def prunable(model, inputs=IMAGE):
    return [group for group in find_groups(model, inputs) if group.prunable]


def zeroed(model, groups):
    for group in groups:
        zero(model, group, torch.arange(group.channels // 2))
    return model


@pytest.fixture
def distributed(tmp_path):
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    yield nn.parallel.DistributedDataParallel(network())
    torch.distributed.destroy_process_group()


@pytest.mark.parametrize("wrap", [compiled, nn.DataParallel, lambda model: nn.DataParallel(compiled(model))])
def test_the_network_inside_a_wrapper_is_shrunk(wrap):
    model = network()
    wrapped = wrap(model)
    groups = prunable(wrapped)
    zeroed(wrapped, groups)
    small = remove_zero_channels(wrapped, IMAGE, groups=groups, align=1).model
    assert small[0].out_channels == 4
    assert output_difference(model.eval(), small, IMAGE) <= 1e-5


def test_the_network_inside_a_distributed_one_is_shrunk(distributed):
    groups = prunable(distributed)
    zeroed(distributed, groups)
    assert shrink(distributed, IMAGE, align=1)[0].out_channels == 4


def test_members_of_a_wrapped_network_are_found_by_the_wrapper():
    wrapped = compiled(network())
    (group, _) = prunable(wrapped)
    assert [member.module for member in group.members] == ["_orig_mod.0", "_orig_mod.1", "_orig_mod.3"]
    assert (group.name, group.members[0].feeds) == ("0", "_orig_mod.1")
    assert not is_zero(wrapped, group).any()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_other_precisions_are_kept(dtype):
    model = network().to(dtype)
    zeroed(model, prunable(model))
    shrunk = remove_zero_channels(model, IMAGE, align=1)
    assert shrunk.removal.channels_removed == 7
    assert {tensor.dtype for tensor in shrunk.model.parameters()} == {dtype}


def test_channels_last_and_strided_weights_are_shrunk():
    model = network().to(memory_format=torch.channels_last)
    model[6].weight = nn.Parameter(model[6].weight.detach().t().contiguous().t())
    assert not model[6].weight.is_contiguous()
    zeroed(model, prunable(model))
    shrunk = remove_zero_channels(model, IMAGE.contiguous(memory_format=torch.channels_last), align=1)
    assert shrunk.removal.channels_removed == 7


@pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode, torch.enable_grad])
def test_the_caller_s_gradient_mode_does_not_matter(context):
    with context():
        model = network()
        zeroed(model, prunable(model))
        small = shrink(model, IMAGE, align=1)
    small(IMAGE).sum().backward()
    assert small[0].weight.grad.shape == (4, 3, 3, 3)


@pytest.mark.parametrize("training", [True, False])
def test_the_small_network_has_the_modes_of_the_large_one(training):
    model = network().train(training)
    model[1].eval()
    small = shrink(zeroed(model, prunable(model)), IMAGE, align=1)
    assert [module.training for module in small.modules()] == [module.training for module in model.modules()]


def test_frozen_layers_are_refused_by_name():
    model = network()
    model[3].requires_grad_(False)
    found = {group.name: group.excluded for group in find_groups(model, IMAGE)}
    assert found["0"] is None
    assert found["3"] == "3 is frozen (requires_grad is off)"


@pytest.mark.parametrize("model", [nn.Flatten(), nn.Sequential(nn.ReLU(), nn.MaxPool2d(2))])
def test_a_network_without_parameters_has_no_groups(model):
    assert find_groups(model, IMAGE) == ()
    assert remove_zero_channels(model, IMAGE).removal.channels_removed == 0


@pytest.mark.parametrize("inputs", [(IMAGE,), {"input": IMAGE}])
def test_inputs_may_be_several_or_have_names(inputs):
    model = network()
    assert [group.name for group in prunable(model, inputs)] == ["0", "3"]
    assert remove_zero_channels(zeroed(model, prunable(model)), inputs, align=1).removal.channels_removed == 7


def test_tracing_that_takes_too_long_says_where_it_is(monkeypatch):
    monkeypatch.setattr(compressor.groups.dispatch, "TRACE_SECONDS", -1.0)
    with pytest.raises(UsageError, match=re.escape("more than -1 s (it has come to 0, operation 1)")):
        find_groups(network(), IMAGE)


def test_what_is_not_probed_in_time_is_left_alone(monkeypatch):
    monkeypatch.setattr(compressor.groups.probe, "PROBE_SECONDS", -1.0)
    assert prunable(network()) == []
    assert find_groups(network(), IMAGE)[0].excluded == "it was not probed within -1 s"


def test_the_two_channels_of_a_tied_weight_go_together():
    model = nn.Sequential(nn.Flatten(), nn.Linear(192, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 8))
    model[5].weight = model[3].weight
    model.append(nn.Linear(8, 2))
    zeroed(model, prunable(model))
    small = shrink(model, IMAGE, align=1)
    assert small[5].weight is small[3].weight
    assert small[3].weight.shape == (4, 4)
