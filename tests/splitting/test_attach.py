"""Attaching to a user's optimisers: what is refused, what a GradScaler and several optimisers do, resuming."""

from __future__ import annotations

import copy
import io
import warnings
from functools import cache, partial

import pytest
import torch
from test_splitting import IMAGE, batch, network, optimizer_for, same, splitting_for, train
from torch import nn
from torch.nn import functional as F

from compressor.errors import CompressorWarning, UsageError
from compressor.groups import find_groups, is_zero
from compressor.penalties import PENALTIES
from compressor.splitting import PaperSplitting, Splitting, SplittingConfig, build_splitting
from compressor.splitting.optimizers import refuse_capture

STEPS = 20
LENGTHS = {"total_steps": STEPS, "epoch_steps": 5, "samples": 64}
CONFIGS = {
    "budget": {"target_macs": 0.5},
    "budget with l1-l2": {"target_macs": 0.5, "penalty": "l1-l2"},
    "budget with zeros": {"target_macs": 0.5, "target_zeros": 0.6},
    "zeros alone": {"target_zeros": 0.7, "penalty": "l0"},
    "paper": {"method": "paper", "penalty": "l1", "growth": (1.5, 1)},
    "rvsm": {"method": "rvsm", "strength": 1e-4},
    "rgsm": {"method": "rgsm", "strength": 0.2},
    "slimming": {"method": "slimming", "strength": 1.0, "beta": (2.0, 2.0)},
}
every_config = pytest.mark.parametrize("options", CONFIGS.values(), ids=list(CONFIGS))


@cache
def groups():
    """Those of `network`, which is always the same."""
    return find_groups(network(), IMAGE)


def splitting_of(model, options, groups=None):
    return build_splitting(model, IMAGE, SplittingConfig(**options), **LENGTHS, groups=groups)


def start(name, kind):
    model = network()
    return model, optimizer_for(model, kind), splitting_of(model, CONFIGS[name], groups())


@cache
def undisturbed(name, kind):
    """The network at the end of a loop, and its projection."""
    model, optimizer, splitting = start(name, kind)
    splitting.attach(optimizer)
    train(model, optimizer, STEPS)
    return model, splitting.project()


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("kind", ["nesterov", "adamw"])
@pytest.mark.parametrize("cut", [7, 10, 13, 18, 19])
@pytest.mark.filterwarnings("ignore:projection changes the outputs")
def test_a_loop_that_is_cut_and_resumed_ends_as_one_that_was_not(name, kind, cut):
    model, optimizer, splitting = start(name, kind)
    splitting.attach(optimizer)
    train(model, optimizer, cut)
    saved = io.BytesIO()
    torch.save([part.state_dict() for part in (model, optimizer, splitting)], saved)
    saved.seek(0)
    states = torch.load(saved, weights_only=True)

    model, optimizer, _ = start(name, kind)
    model.load_state_dict(states[0])
    optimizer.load_state_dict(states[1])
    splitting = splitting_of(model, CONFIGS[name], groups())
    splitting.load_state_dict(states[2])
    splitting.attach(optimizer)
    train(model, optimizer, STEPS - cut, start=cut)
    assert splitting.step == STEPS
    expected, projection = undisturbed(name, kind)
    assert splitting.project() == projection
    assert same(model, expected)


@every_config
def test_a_state_of_another_splitting_is_refused(options):
    state = splitting_of(network(), options).state_dict()
    other = build_splitting(network(), IMAGE, SplittingConfig(**options), **(LENGTHS | {"total_steps": STEPS + 1}))
    with pytest.raises(UsageError, match=r"belongs to another splitting: its total_steps is 20, that of this one 21"):
        other.load_state_dict(state)


def test_attaching_twice_is_refused_until_the_first_attachment_is_removed():
    model = network()
    optimizer, splitting = optimizer_for(model, "sgd"), splitting_for(model)
    handle = splitting.attach(optimizer)
    with pytest.raises(UsageError, match="this splitting is attached already; call remove"):
        splitting.attach(optimizer)
    handle.remove()
    splitting.attach(optimizer)
    train(model, optimizer, 1)
    assert splitting.step == 1


@every_config
def test_a_trainable_penalised_parameter_without_an_optimizer_is_refused_by_name(options):
    model = network()
    splitting = splitting_of(model, options)
    part = torch.optim.SGD(model[3].parameters(), lr=0.1)
    with pytest.raises(
        UsageError, match=r"no attached optimizer trains [01].weight(?: and \d more)?, which would"
    ) as told:
        splitting.attach(part)
    assert "attach all optimizers in one call" in str(told.value)


def test_attaching_nothing_is_refused():
    with pytest.raises(UsageError, match="attach needs the optimizer that trains the model, got none"):
        splitting_for(network()).attach()


def test_two_optimizers_are_one_step():
    def halves(model):
        *first, last = model
        return (
            torch.optim.SGD([p for module in first for p in module.parameters()], lr=0.1),
            torch.optim.SGD(last.parameters(), lr=0.03),
        )

    one, two = network(), network()
    whole, parts = optimizer_for(one, "sgd"), halves(two)
    first, second = splitting_for(one, total_steps=STEPS), splitting_for(two, total_steps=STEPS)
    first.attach(whole)
    second.attach(*parts)
    train(one, whole, STEPS)
    for step in range(STEPS):
        for part in parts:
            part.zero_grad()
        images, labels = batch(step)
        F.cross_entropy(two(images), labels).backward()
        for part in parts:
            part.step()
    assert second.step == STEPS
    assert same(one, two)


@pytest.mark.parametrize("method", ["paper", "rgsm"])
def test_the_papers_penalties_reach_every_optimizer_once(method):
    def trained(build):
        model = network()
        splitting = splitting_of(model, {"method": method})
        optimizers = build(model)
        splitting.attach(*optimizers)
        for step in range(3):
            for part in optimizers:
                part.zero_grad()
            images, labels = batch(step)
            F.cross_entropy(model(images), labels).backward()
            for part in optimizers:
                part.step()
        return model

    def both(model):
        parts = [list(model[:7].parameters()), list(model[7].parameters())]
        return [torch.optim.SGD(part, lr=0.1) for part in parts]

    assert same(trained(lambda model: [torch.optim.SGD(model.parameters(), lr=0.1)]), trained(both))


class ScheduleFree(torch.optim.SGD):
    """The shape of the optimisers of the package schedulefree."""

    def train(self):
        """To the weights that are trained."""

    def eval(self):
        """To the averaged ones."""


def test_an_optimizer_with_two_sets_of_weights_is_refused():
    model = network()
    with pytest.raises(UsageError, match="ScheduleFree keeps a second set of weights for evaluation"):
        splitting_for(model).attach(ScheduleFree(model.parameters(), lr=0.1))


def scaled(model, splitting, fused, overflows, options):
    """Train with a GradScaler; in the steps named by ``overflows`` a gradient is infinite.

    Not in the first: torch's fused SGD then goes on with a momentum that it never set.
    """
    build = {"adamw": partial(torch.optim.AdamW, lr=0.01), "sgd": partial(torch.optim.SGD, lr=0.1, momentum=0.9)}
    optimizer = build[options](model.parameters(), fused=fused)
    splitting.attach(optimizer)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10, growth_interval=10_000)
    for step in range(STEPS):
        optimizer.zero_grad()
        images, labels = batch(step)
        scaler.scale(F.cross_entropy(model(images), labels)).backward()
        if step in overflows:
            next(p for p in model.parameters() if p.ndim > 1).grad.fill_(float("inf"))
        scaler.step(optimizer)
        scaler.update()
    return splitting


@pytest.mark.parametrize("options", ["sgd", "adamw"])
@pytest.mark.parametrize("fused", [False, True])
def test_steps_that_the_scaler_skips_are_neither_counted_nor_pulled(fused, options):
    model = network()
    splitting = scaled(model, splitting_for(model, total_steps=STEPS - 3), fused, {3, 4, 9}, options)
    assert splitting.step == STEPS - 3
    assert splitting.gap() <= 1e-5
    skipped = network()
    before = copy.deepcopy(skipped)
    assert scaled(skipped, splitting_for(skipped), fused, set(range(STEPS)), options).step == 0
    assert same(skipped, before)


def test_a_tenth_of_the_steps_may_be_skipped_without_a_gap():
    model = network()
    splitting = scaled(model, splitting_for(model, total_steps=STEPS, beta=None), True, {3, 4}, "sgd")
    assert splitting.step == STEPS - 2
    assert splitting.gap() <= 1e-5
    with pytest.warns(CompressorWarning, match="stopped after 18 of 20 steps"):
        splitting.project()


@pytest.mark.parametrize("options", [CONFIGS["paper"], CONFIGS["rgsm"]], ids=["paper", "rgsm"])
def test_the_papers_gradients_are_in_the_right_scale_under_a_fused_optimizer_with_a_scaler(options):
    def trained(fused):
        model = network().double()
        splitting = build_splitting(model, IMAGE.double(), SplittingConfig(**options), **LENGTHS)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, fused=fused)
        splitting.attach(optimizer)
        scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10, enabled=fused)
        for step in range(5):
            optimizer.zero_grad()
            images, labels = batch(step)
            scaler.scale(F.cross_entropy(model(images.double()), labels)).backward()
            scaler.step(optimizer)
            scaler.update()
        return model

    for one, other in zip(trained(True).parameters(), trained(False).parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-12)


def test_a_group_with_a_frozen_member_is_excluded_and_named():
    model = network()
    groups = find_groups(model, IMAGE)
    model[3].weight.requires_grad_(False)
    splitting = Splitting(model, IMAGE, groups=groups, target_macs=0.7, align=1, total_steps=STEPS)
    assert splitting.prunable.excluded["3"] == "3 is frozen (requires_grad is off)"
    assert "3" not in {group.name for group in splitting.groups}
    splitting.attach(torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1))


@pytest.mark.filterwarnings("ignore:projection changes the outputs")
@pytest.mark.parametrize("build", ["average", "deepcopy"])
@every_config
def test_an_averaged_copy_is_projected_the_same_way(options, build):
    model = network()
    optimizer = optimizer_for(model, "momentum")
    splitting = splitting_of(model, options)
    splitting.attach(optimizer)
    average = torch.optim.swa_utils.AveragedModel(model, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.9))
    for step in range(STEPS):
        train(model, optimizer, 1, start=step)
        average.update_parameters(model)
    other = average if build == "average" else copy.deepcopy(average.module)
    before = copy.deepcopy(other)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        projected = splitting.project(model=other)
    assert [str(entry.message) for entry in told] == list(projected.warnings)
    own = splitting.project() if options.get("method", "budget") == "budget" else None
    twin = other.module if build == "average" else other
    moved = [(a - b).detach().double() for a, b in zip(other.parameters(), before.parameters(), strict=True)]
    assert sum(float(move.square().sum()) for move in moved) > 0
    if own is not None:
        assert projected.kept == own.kept
        for group in splitting.groups:
            assert torch.equal(is_zero(twin, group), is_zero(model, group))
        for (name, one), two in zip(model.named_parameters(), twin.parameters(), strict=True):
            if one.ndim > 1:
                assert torch.equal(one == 0, two == 0), name


def test_a_copy_of_another_network_is_refused():
    with pytest.raises(UsageError, match="the model to project has other parameters than the one that was trained"):
        splitting_for(network()).project(model=nn.Linear(3, 3))


def test_stopping_early_is_said_before_projecting():
    model = network()
    optimizer = optimizer_for(model, "sgd")
    splitting = splitting_for(model, total_steps=100)
    splitting.attach(optimizer)
    train(model, optimizer, 60)
    with pytest.warns(CompressorWarning) as told:
        projection = splitting.project()
    assert [str(warning.message) for warning in told] == list(projection.warnings)
    assert projection.warnings[0] == "the splitting was stopped after 60 of 100 steps"
    assert projection.warnings[1].startswith("projection changes the outputs: a gap of ")


def test_a_training_to_the_end_says_nothing():
    model = network()
    optimizer = optimizer_for(model, "sgd")
    splitting = splitting_for(model, total_steps=STEPS)
    splitting.attach(optimizer)
    train(model, optimizer, STEPS)
    assert splitting.project().warnings == ()


@pytest.mark.filterwarnings("ignore")  # torch's compiler has deprecations of its own
def test_a_compiled_step_is_pulled_all_the_same():
    def trained(wrap):
        model = network()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        splitting = splitting_for(model, total_steps=STEPS)
        splitting.attach(optimizer)
        step = wrap(optimizer)
        for number in range(STEPS):
            optimizer.zero_grad()
            images, labels = batch(number)
            F.cross_entropy(model(images), labels).backward()
            step()
        return model, splitting

    one, first = trained(lambda optimizer: optimizer.step)
    other, second = trained(lambda optimizer: torch.compile(optimizer.step, backend="eager"))
    assert first.step == second.step == STEPS
    for a, b in zip(one.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)


def test_a_captured_step_is_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: True)
    with pytest.raises(UsageError, match="captured in a CUDA graph would be replayed with the same beta"):
        refuse_capture()


@pytest.mark.parametrize("share", [0.5, 0.8, 0.9])
@pytest.mark.parametrize("name", sorted(PENALTIES))
def test_a_target_of_zeros_is_reached_within_a_point(name, share):
    model = network()
    optimizer = optimizer_for(model, "momentum")
    splitting = splitting_for(model, total_steps=30, penalty=name, target_zeros=share, target_macs=0.6, beta=None)
    splitting.attach(optimizer)
    train(model, optimizer, 30)
    assert splitting.gap() <= 1e-5
    projection = splitting.project()
    assert projection.zeros == pytest.approx(share, abs=0.01)
    assert projection.met


def test_a_high_target_of_zeros_empties_no_channel():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(12, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 4))
    vectors = torch.randn(64, 12, generator=torch.Generator().manual_seed(0))
    labels = (vectors[:, 0] > 0).long() + 2 * (vectors[:, 1] > 0).long()
    splitting = Splitting(model, vectors, total_steps=60, target_zeros=0.93, target_params=0.8, align=1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    splitting.attach(optimizer)
    for _ in range(60):
        optimizer.zero_grad()
        F.cross_entropy(model(vectors), labels).backward()
        optimizer.step()
    projection = splitting.project()
    assert projection.died == 0
    assert projection.zeros == pytest.approx(0.93, abs=0.01)
    assert projection.warnings == ()


def test_a_stronger_penalty_leaves_more_zeros():
    def zeros(strength):
        model = network()
        optimizer = optimizer_for(model, "sgd")
        splitting = splitting_for(model, total_steps=STEPS, penalty="l1", strength=strength, target_macs=None)
        splitting.attach(optimizer)
        train(model, optimizer, STEPS)
        return splitting.project().zeros

    found = [zeros(strength) for strength in (0.1, 0.5, 2.0)]
    assert found == sorted(found)
    assert found[0] < found[1] < found[2]


def test_channels_can_die_by_the_penalty_on_single_weights():
    model = network()
    optimizer = optimizer_for(model, "sgd")
    splitting = splitting_for(model, total_steps=STEPS, penalty="l1", strength=5.0, target_macs=0.9, align=1)
    splitting.attach(optimizer)
    train(model, optimizer, STEPS)
    gap = splitting.gap()
    projection = splitting.project()
    selected = sum(group.channels - kept for group, kept in zip(splitting.groups, splitting.kept, strict=True))
    zero = sum(int(is_zero(model, group).sum()) for group in splitting.groups)
    assert projection.died == zero - selected > 0
    assert gap <= 1e-5


def test_a_papers_method_is_not_splitting_and_the_other_way_round():
    with pytest.raises(UsageError, match="method budget is that of Splitting; PaperSplitting has paper, rvsm and rgsm"):
        PaperSplitting(network(), IMAGE, method="budget", total_steps=1, epoch_steps=1)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_network_in_16_bits_is_drawn_to_zero_like_another(dtype):
    model = network()
    groups = find_groups(model, IMAGE)
    model = model.to(dtype)
    splitting = Splitting(model, IMAGE, groups=groups, penalty="l1-l2", target_macs=0.6, align=1, total_steps=STEPS)
    for _ in range(STEPS):
        splitting.after_step()
    assert splitting.gap() <= 1e-5
    projection = splitting.project()
    assert projection.met
    assert projection.zeros > 0
    assert all(parameter.isfinite().all() for parameter in model.parameters())
