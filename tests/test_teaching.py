from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from compressor import teaching
from compressor.costs import cost_model, count_macs
from compressor.errors import UsageError
from compressor.groups import find_groups, zero
from compressor.groups.advice import advice
from compressor.shrinking import remove_zero_channels
from compressor.splitting import Splitting
from compressor.teaching import teach

X = torch.randn(2, 5, 3, generator=torch.Generator().manual_seed(0))


@torch.library.custom_op("compressor_tests::project", mutates_args=())
def project(x: Tensor, weight: Tensor, shift: Tensor) -> Tensor:
    return torch.einsum("bti,io->bot", x, weight) + shift[:, None]


@torch.library.custom_op("compressor_tests::cat", mutates_args=())
def smooth(x: Tensor) -> Tensor:
    return x / (1 + x.square().sum(1, keepdim=True))


class Projection(nn.Module):
    def __init__(self, inputs, outputs):
        super().__init__()
        self.in_features, self.out_features = inputs, outputs
        self.weight = nn.Parameter(torch.randn(inputs, outputs))
        self.shift = nn.Parameter(torch.randn(outputs))

    def forward(self, x):
        x = project(x, self.weight, self.shift)
        return x.reshape(x.shape[0], self.out_features, -1).transpose(1, 2)


class Hidden(Projection):
    """The same by numbers that torch does not see."""

    def forward(self, x):
        weight, shift = self.weight.detach().numpy(), self.shift.detach().numpy()
        return torch.from_numpy(x.detach().numpy() @ weight + shift)


def network(kind=Projection):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(3, 8), nn.ReLU(), kind(8, 6), nn.ReLU(), nn.Linear(6, 2))


@pytest.fixture
def lessons():
    """What a test teaches is forgotten after it."""
    yield
    teaching.OPERATIONS.clear()
    teaching.MODULES.clear()


def teach_projection(signature="b t i, i o, + o -> b o t"):
    sizes = {"in_features": "i", "out_features": "o"}
    teach("compressor_tests::project", signature, macs="b t i o", sizes=sizes)


def removed(model):
    groups = find_groups(model, X)
    for group in groups:
        if group.prunable:
            zero(model, group, torch.arange(group.channels // 2))
    return remove_zero_channels(model, X, groups=groups, align=1)


def test_what_was_not_taught_is_named(lessons):
    group = find_groups(network(), X)[0]
    assert group.excluded == "it passes through compressor_tests::project in 2"
    assert "compressor.teach" in advice(group.excluded)


def test_an_operation_is_followed_counted_and_cut(lessons):
    teach_projection()
    model = network()
    assert count_macs(model, X) == 5 * (3 * 8 + 8 * 6 + 6 * 2)
    groups = find_groups(model, X)
    assert {group.name: group.channels for group in groups if group.prunable} == {"0": 8, "2": 6}
    result = removed(model)
    assert result.removal.float64 <= 1e-9
    assert result.model[2].weight.shape == (4, 3)
    assert (result.model[2].in_features, result.model[2].out_features) == (4, 3)
    predicted = cost_model(model, X, groups, "macs").total([4, 3, 2])
    assert predicted == count_macs(result.model, X) == 5 * (3 * 4 + 4 * 3 + 3 * 2)


def test_a_training_reaches_its_target(lessons):
    teach_projection()
    model = network()
    splitting = Splitting(model, X, total_steps=2, target_macs=0.5, align=1)
    splitting.attach(torch.optim.SGD(model.parameters(), lr=0.1))
    assert splitting.macs_kept is not None


def test_a_module_is_taught_as_a_whole(lessons):
    sizes = {"in_features": "i", "out_features": "o"}
    teach(Hidden, "b t i, weight: i o, shift: + o -> b t o", macs="b t i o", sizes=sizes)
    model = network(Hidden)
    assert count_macs(model, X) == 5 * (3 * 8 + 8 * 6 + 6 * 2)
    result = removed(model)
    assert dict(result.channels) == {"0": (8, 4), "2": (6, 3)}
    assert result.removal.float64 <= 1e-9


def test_an_axis_that_must_stay_keeps_its_channels(lessons):
    teach("compressor_tests::cat", "b _ -> b _")
    groups = find_groups(nn.Sequential(nn.Linear(3, 8), Lambda(lambda x: smooth(x.mean(1))), nn.Linear(8, 2)), X)
    assert groups[0].excluded == "compressor_tests::cat in 1 takes its channels together"


class Lambda(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


@pytest.mark.parametrize("signature", ["b c -> b c", "b t o, i o, o -> b o t"])
def test_a_wrong_signature_makes_no_wrong_network(lessons, signature):
    teach("compressor_tests::cat", "b c -> b c")
    model = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), Lambda(lambda x: smooth(x.mean(1)) + 1), nn.Linear(8, 2))
    teach_projection("b t o, i o, o -> b o t")
    for net in (model, network()):
        assert removed(net).removal.float64 <= 1e-9


def test_other_axes_than_were_taught_are_told(lessons):
    teach_projection("b t i, i o, + o -> b o")
    assert "with other axes than were taught" in find_groups(network(), X)[0].excluded


def test_an_operation_of_others_is_none_of_torchs_with_the_same_name(lessons):
    model = nn.Sequential(nn.Linear(3, 8), Lambda(lambda x: smooth(x.mean(1))), nn.Linear(8, 2))
    assert "not known" not in str(find_groups(model, X)[0].excluded)
    assert F.relu(removed(model).model(X)).shape == (2, 2)


@pytest.mark.parametrize(
    ("what", "signature", "options", "message"),
    [
        ("mine::op", "b c", {}, "a signature is 'operands -> results'"),
        ("mine::op", "b c -> b d", {}, "has an axis d"),
        ("mine::op", "b c c -> b c", {}, "each once"),
        ("mine::op", "b c, weight: c -> b c", {}, "have no names"),
        ("mine::op", "b c -> b c", {"macs": "b k"}, "has an axis k"),
        ("op", "b c -> b c", {}, "'namespace::name'"),
        (nn.Linear(2, 2), "b c -> b c", {}, "a class of modules"),
    ],
)
def test_a_signature_that_cannot_be_read_is_refused(what, signature, options, message):
    with pytest.raises(UsageError, match=message):
        teach(what, signature, **options)


def test_a_size_of_another_name_is_refused(lessons):
    teach("compressor_tests::project", "b t i, i o, + o -> b o t", sizes={"secret": "o"})
    with pytest.raises(UsageError, match=r"must be called one of .*, got 'secret'"):
        find_groups(network(), X)
