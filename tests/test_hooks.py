import pytest
import torch
from torch import nn

from compressor.hooks import hooked, running


def hooks(model):
    return sum(len(module._forward_hooks) + len(module._forward_pre_hooks) for module in model.modules())


@pytest.fixture
def model():
    return nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 2))


def test_hooks_last_as_long_as_the_block(model):
    seen = []
    with hooked(module.register_forward_hook(lambda m, args, out: seen.append(m)) for module in model):
        assert hooks(model) == 3
        model(torch.ones(1, 2))
    assert seen == list(model)
    assert hooks(model) == 0


def test_hooks_go_when_the_block_fails(model):
    handles = (module.register_forward_pre_hook(lambda m, args: None) for module in model)
    with pytest.raises(RuntimeError), hooked(handles):
        model(torch.ones(1, 3))
    assert hooks(model) == 0


def test_hooks_go_when_a_later_one_cannot_be_registered(model):
    def handles():
        yield model[0].register_forward_hook(lambda m, args, out: None)
        raise TypeError("no hook")

    with pytest.raises(TypeError), hooked(handles()):
        pytest.fail("the block ran")
    assert hooks(model) == 0


def test_running_names_the_modules_outermost_first(model):
    inside: list[str] = []
    stacks: list[list[tuple[str, nn.Module]]] = []
    model[1].register_forward_hook(lambda m, args, out: inside.extend(name for name, _ in stacks[0]))
    with running(model) as stack:
        stacks.append(stack)
        model(torch.ones(1, 2))
        assert stack == []
    assert inside == ["", "1"]


def test_running_keeps_where_an_error_happened(model):
    model[2] = nn.Linear(5, 2)
    with pytest.raises(RuntimeError), running(model) as stack:
        model(torch.ones(1, 2))
    assert [name for name, _ in stack] == ["", "2"]
