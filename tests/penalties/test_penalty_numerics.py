"""Where formulas that are right lose digits, overflow or divide by zero."""

from __future__ import annotations

from collections import Counter
from functools import partial

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from compressor.architectures.cifar_resnet import resnet20
from compressor.groups import find_groups
from compressor.penalties import GROUP_PENALTIES, PENALTIES, group_penalty, penalty, step_of
from compressor.splitting import Splitting
from compressor.splitting.auxiliary import AuxiliaryVariables, in_units

every_penalty = pytest.mark.parametrize("name", sorted(PENALTIES))
every_group_penalty = pytest.mark.parametrize("name", sorted(GROUP_PENALTIES))


@pytest.mark.parametrize("a", [2.5, 3.7, 1e2, 1e4, 1e6, 1e8])
@pytest.mark.parametrize("step", [1e-3, 0.05, 0.7])
def test_scad_keeps_its_digits_in_float32_whatever_its_shape(a, step):
    sizes = torch.cat([step * torch.linspace(0.9, 3, 200), torch.linspace(0, 5, 200), torch.tensor([0.0503375])])
    scad = penalty("scad", a=a)
    torch.testing.assert_close(scad.prox(sizes, step).double(), scad.prox(sizes.double(), step), rtol=1e-5, atol=1e-8)


def test_the_case_of_scad_that_was_three_times_too_large():
    found = float(penalty("scad", a=1e4).prox(torch.tensor([0.0503375]), 0.05))
    assert found == pytest.approx(0.0003375, rel=1e-3)


@every_penalty
def test_an_infinite_weight_stays_infinite(name):
    if not penalty(name).separable:
        pytest.skip("its norm is infinite as well")
    x = torch.tensor([-float("inf"), 0.5, float("inf")])
    found = penalty(name).prox(x, 0.1)
    assert found[0] == -float("inf")
    assert found[2] == float("inf")
    assert found[1].isfinite()


@every_penalty
@pytest.mark.parametrize("step", [0.0, 0.1, 1e4])
def test_a_tensor_without_entries_stays_one(name, step):
    assert penalty(name).prox(torch.zeros(0, 3), step).shape == (0, 3)


@every_penalty
def test_the_value_has_a_finite_gradient_at_zero(name):
    w = torch.tensor([0.0, 0.3, 0.0, -2.0], dtype=torch.float64, requires_grad=True)
    value = penalty(name).value(w)
    if value.requires_grad:  # that of l0 is constant almost everywhere
        value.backward()
        assert w.grad.isfinite().all()


@every_group_penalty
def test_rows_of_half_precision_whose_squares_overflow_survive(name):
    rows = torch.full((2, 64), 1e4, dtype=torch.float16)
    rows[1] = 0
    built = group_penalty(name)
    for found in (built.prox(rows, 0.5) if hasattr(built, "prox") else rows, *_subgradients(built, rows)):
        assert found.dtype == torch.float16
        assert not found.isnan().any()
        assert (found[1] == 0).all()
        assert (found[0] > 0).all()


def _subgradients(built, rows):
    return [built.subgradient(rows)] if hasattr(built, "subgradient") and built.weight(4) == 2 else []


@every_group_penalty
def test_rows_longer_than_float32_can_say_stay(name):
    built = group_penalty(name)
    rows = torch.full((1, 8), 3e38)
    if hasattr(built, "prox"):
        assert torch.equal(built.prox(rows, 1.0), rows)


@every_penalty
def test_many_tensors_at_once_keep_every_digit_of_float64(name):
    generator = torch.Generator().manual_seed(0)
    xs = [torch.randn(n, generator=generator, dtype=torch.float64) for n in (3, 40, 200)]
    steps = [0.1, 1 / 3, 0.7]
    for one, x, step in zip(penalty(name).prox_each(xs, steps), xs, steps, strict=True):
        torch.testing.assert_close(one, penalty(name).prox(x, step), rtol=1e-15, atol=0)


L1_L2 = [penalty("l1-l2", alpha=alpha) for alpha in (0.3, 0.9, 1.0)]


@pytest.mark.parametrize("built", L1_L2, ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_without_reading_a_value_l1_minus_l2_is_the_same(built, dtype):
    generator = torch.Generator().manual_seed(1)
    xs = [scale * torch.randn(5, 7, generator=generator, dtype=dtype) for scale in (1, 0.3, 0.05, 1e-6, 0)]
    steps = [0.5, 0.4, 0.2, 0.1, 0.3]
    rare = 0
    for found, x, step in zip(built._without_reading(xs, steps), xs, steps, strict=True):
        torch.testing.assert_close(
            found, built._by_rows(x, step), rtol=2e-6 if dtype == torch.float32 else 1e-12, atol=0
        )
        rare += bool((x.abs() <= step).all())
    assert rare >= 3


@every_penalty
@pytest.mark.parametrize("threshold", [0.0, 1e-9, 1e-3, 0.4, 1.0, 30.0])
def test_the_step_of_a_threshold_zeroes_up_to_it(name, threshold):
    built = penalty(name)
    step = step_of(built, threshold)
    assert built.threshold(step) == pytest.approx(threshold, rel=1e-6, abs=1e-12)


class Calls(TorchDispatchMode):
    """Counts the operators that are called."""

    def __init__(self):
        super().__init__()
        self.counts = Counter()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func.namespace == "aten":  # what a fake tensor is asked of itself is none
            self.counts[str(func)] += 1
        return func(*args, **(kwargs or {}))


def calls_of_a_pull(name):
    """Operator calls of one pull of a ResNet-20 on a CUDA device that is not there."""
    example = torch.zeros(2, 3, 32, 32)
    groups = find_groups(resnet20(), example)
    with torch.random.fork_rng():
        splitting = Splitting(resnet20(), example, penalty=name, target_macs=0.5, total_steps=100, groups=groups)
    units = [1.0] * len(splitting._weights)
    with FakeTensorMode(), torch.no_grad():
        fakes = [torch.empty(w.shape, device="cuda") for w in splitting._weights.values()]
        v = AuxiliaryVariables(
            fakes, partial(in_units, splitting._single.penalty, dict(zip(fakes, units, strict=True)))
        )
        with Calls() as calls:
            v.pull(0.3, 0.1)
    with torch.no_grad(), Calls() as channels:
        splitting._selection.channels.pull(0.3)
    return calls.counts.total() + channels.counts.total()


def test_on_a_gpu_l1_minus_l2_calls_at_most_twice_the_operators_of_l1():
    l1, l1_l2 = calls_of_a_pull("l1"), calls_of_a_pull("l1-l2")
    assert 20 < l1 < 60
    assert l1_l2 <= 2 * l1


def test_on_a_gpu_more_weights_go_together():
    made = []

    def prox_of(batch):
        made.append(len(batch))
        return lambda step: batch

    for device, batches in (("cpu", [2, 2, 2, 2]), ("meta", [8])):
        made.clear()
        variables = AuxiliaryVariables([torch.empty(2**18, device=device) for _ in range(8)], prox_of)
        assert len([*variables.targets(0.1)]) == 8
        variables.pull(0.1, 0.1)
        assert made == batches
