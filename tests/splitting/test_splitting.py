"""The pull in a user's own training loop."""

from __future__ import annotations

import copy
import re
from functools import partial

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from compressor.architectures.lenet import lenet5
from compressor.channels import ties, vanishing_tensors
from compressor.costs import count_macs, count_parameters
from compressor.errors import TargetNotMet, UnknownName, UsageError
from compressor.groups import is_zero
from compressor.penalties import PENALTIES, penalty
from compressor.saliency.weights import squared_saliency as saliency
from compressor.shrinking import shrink
from compressor.splitting import Alignment, Splitting
from compressor.splitting.budget import Budget

# Some of these project without a training, or with a short one.
pytestmark = pytest.mark.filterwarnings("ignore::compressor.errors.CompressorWarning")

IMAGE = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
STEPS = 7

OPTIMIZERS = {
    "sgd": lambda parts: torch.optim.SGD(parts, lr=0.1),
    "momentum": lambda parts: torch.optim.SGD(parts, lr=0.1, momentum=0.9),
    "nesterov": lambda parts: torch.optim.SGD(parts, lr=0.1, momentum=0.9, nesterov=True),
    "adamw": lambda parts: torch.optim.AdamW(parts, lr=0.01, weight_decay=0.1),
}
every_optimizer = pytest.mark.parametrize("kind", OPTIMIZERS)


def network(seed=0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU(),
            nn.Conv2d(8, 8, 3, padding=1), nn.ReLU(),
            nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(32, 4),
        )  # fmt: skip


def optimizer_for(model, kind):
    """Two parameter groups with different learning rates."""
    last = list(model[7].parameters())
    first = [parameter for module in list(model)[:7] for parameter in module.parameters()]
    optimizer = OPTIMIZERS[kind]([{"params": first}, {"params": last}])
    optimizer.param_groups[1]["lr"] *= 0.3
    return optimizer


def batch(step):
    generator = torch.Generator().manual_seed(100 + step)
    images = torch.randn(16, 3, 8, 8, generator=generator)
    return images, torch.randint(4, (16,), generator=generator)


def backward(model, step):
    images, labels = batch(step)
    loss = F.cross_entropy(model(images), labels)
    loss.backward()
    return float(loss.detach())


def train(model, optimizer, steps, start=0):
    for step in range(start, start + steps):
        optimizer.zero_grad()
        loss = backward(model, step)
        optimizer.step()
    return loss


def splitting_for(model, **options):
    defaults = {"total_steps": STEPS, "target_macs": 0.5, "beta": (1.0, 100.0), "align": "2"}
    return Splitting(model, IMAGE, **(defaults | options))


def same(one, other):
    pairs = zip(one.parameters(), other.parameters(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


# The share of the training since the last pull, after each step with one: every second, and the last.
SPANS = {2: 2 / 7, 4: 2 / 7, 6: 2 / 7, 7: 1 / 7}


@torch.no_grad()
def pull_slowly(model, splitting, span, dropped):
    """W + k (U - W), one channel and one parameter at a time."""
    beta = splitting.schedule.beta_start * (
        (splitting.schedule.beta_end / splitting.schedule.beta_start) ** (splitting.step / STEPS)
    )
    # Of seven steps the last closes the gap.
    k = 1 if splitting.step == STEPS else span * beta / (1 + span * beta)
    for group, gone in zip(splitting.groups, dropped, strict=True):
        for parameter, member, axis in vanishing_tensors(model, group):
            for channel in range(group.channels):
                for place in member.index[channel].tolist():
                    w = parameter.select(axis, place)
                    u = torch.zeros_like(w) if gone[channel] else w.clone()
                    w += k * (u - w)


@every_optimizer
def test_seven_steps_are_those_of_a_slow_loop(kind):
    fast, slow = network(), network()
    splitting, twin = (splitting_for(model, saliency="weights") for model in (fast, slow))
    optimizer, other = optimizer_for(fast, kind), optimizer_for(slow, kind)
    splitting.attach(optimizer)
    for step in range(STEPS):
        train(fast, optimizer, 1, start=step)
        train(slow, other, 1, start=step)
        if twin.schedule.revises(step):
            twin._selection.select(partial(twin.schedule.budget, step))
        twin.step = step + 1
        if twin.step in SPANS:
            pull_slowly(slow, twin, SPANS[twin.step], twin._selection.channels.dropped())
    assert any(gone.any() for gone in splitting._selection.channels.dropped())
    for one, two in zip(fast.parameters(), slow.parameters(), strict=True):
        torch.testing.assert_close(one, two, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", sorted(PENALTIES))
def test_the_elementwise_pull_is_a_step_towards_the_prox(name):
    model = network()
    splitting = splitting_for(model, penalty=name, strength=0.2, target_macs=None, beta=(4.0, 4.0))
    weight = model[3].weight
    before = weight.detach().clone()
    splitting.pull(0.5)
    unit = before.square().mean().sqrt()
    # k = 0.5 * 4 / (1 + 0.5 * 4), and the step of the prox is 2 * 0.2 (1/4 + 1/2).
    v = penalty(name).prox(before / unit, 0.3) * unit
    torch.testing.assert_close(weight.detach(), before + 2 / 3 * (v - before), rtol=1e-5, atol=1e-7)


def test_the_elementwise_threshold_falls_as_beta_grows():
    model = network()
    splitting = splitting_for(model, penalty="l0", strength=0.5, target_macs=None, total_steps=10)
    before = splitting.gap()
    splitting.step = 8
    assert splitting.gap() < before


@every_optimizer
def test_a_huge_beta_does_not_diverge(kind):
    model = network()
    optimizer = optimizer_for(model, kind)
    splitting = splitting_for(model, penalty="l1", beta=(1e4, 1e4), total_steps=60)
    splitting.attach(optimizer)
    loss = train(model, optimizer, 60)
    assert loss < 3
    assert all(parameter.isfinite().all() for parameter in model.parameters())
    assert splitting.gap() < 1e-2


def test_accumulated_gradients_are_one_step():
    model = network()
    optimizer = optimizer_for(model, "momentum")
    splitting = splitting_for(model)
    splitting.attach(optimizer)
    for step in range(4):
        backward(model, step)
    optimizer.step()
    assert splitting.step == 1


def test_a_step_that_the_grad_scaler_skips_is_no_step():
    model = network()
    optimizer = optimizer_for(model, "momentum")
    splitting = splitting_for(model)
    splitting.attach(optimizer)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0)
    for infinite in (True, False):
        optimizer.zero_grad()
        scaler.scale(F.cross_entropy(model(batch(0)[0]), batch(0)[1])).backward()
        if infinite:
            model[0].weight.grad.fill_(float("inf"))
        scaler.step(optimizer)
        scaler.update()
    assert splitting.step == 1


@every_optimizer
@pytest.mark.parametrize("rate", [1e-6, 1e-3, 0.1])
@pytest.mark.parametrize("steps", [5, 20, 61])
def test_the_gap_is_closed_whatever_the_learning_rate(kind, rate, steps):
    model = network()
    optimizer = optimizer_for(model, kind)
    for group in optimizer.param_groups:
        group["lr"] = rate
    splitting = splitting_for(model, total_steps=steps, beta=None)
    splitting.attach(optimizer)
    train(model, optimizer, steps)
    assert splitting.gap() <= 1e-5
    assert splitting.project().warnings == ()


def test_the_gap_is_closed_under_a_schedule_that_stops_the_training():
    model = network()
    optimizer = optimizer_for(model, "momentum")
    splitting = splitting_for(model, total_steps=61, beta=None)
    splitting.attach(optimizer)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 15, gamma=0.01)
    for step in range(61):
        train(model, optimizer, 1, start=step)
        scheduler.step()
    assert splitting.gap() <= 1e-5


def test_a_dropped_channel_that_outgrows_the_others_stays_dropped():
    model = network()
    optimizer = optimizer_for(model, "sgd")
    splitting = splitting_for(model, total_steps=20)
    splitting.attach(optimizer)
    train(model, optimizer, 12)
    gone = splitting._selection.channels.dropped()
    with torch.no_grad():
        model[0].weight[gone[0]] = 100.0
    train(model, optimizer, 8)
    assert all(torch.equal(a, b) for a, b in zip(gone, splitting._selection.channels.dropped(), strict=True))
    assert splitting.gap() <= 1e-5


def test_a_removed_handle_ends_the_pull():
    model = network()
    optimizer = optimizer_for(model, "sgd")
    splitting = splitting_for(model)
    splitting.attach(optimizer).remove()
    train(model, optimizer, 1)
    assert splitting.step == 0


def test_a_foreign_optimizer_is_refused():
    with pytest.raises(UsageError, match="holds none of the model's parameters; attach the one that trains it"):
        splitting_for(network()).attach(optimizer_for(network(), "sgd"))


def test_on_a_quadratic_the_weights_settle_at_the_closed_form():
    model = nn.Sequential(nn.Linear(5, 4, bias=False), nn.ReLU(), nn.Linear(4, 3))
    goal = torch.randn(4, 5, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        model[0].weight.copy_(goal)
    splitting = Splitting(model, torch.zeros(2, 5), total_steps=10_000, target_params=0.5, align="1", beta=(3.0, 3.0))
    splitting._selection.select()
    dropped = splitting._selection.channels.dropped()[0]
    rate, beta = 0.1, 3.0
    k = rate * beta / (1 + rate * beta)
    weight = model[0].weight
    for _ in range(400):
        with torch.no_grad():
            weight -= rate * (weight - goal)
            splitting._selection.channels.pull(k)
    # W = (1 - k)(W - lr (W - goal)) on dropped rows: the minimiser of (W - goal)^2 / 2 + beta W^2 / 2.
    expected = torch.where(dropped[:, None], goal / (1 + beta), goal)
    torch.testing.assert_close(weight.detach(), expected, rtol=1e-4, atol=1e-6)


def trained(**options):
    model = network()
    optimizer = optimizer_for(model, "momentum")
    splitting = splitting_for(model, **({"total_steps": 20} | options))
    splitting.attach(optimizer)
    train(model, optimizer, 20)
    return model.eval(), splitting


def test_attaching_leaves_modes_statistics_and_gradients_alone():
    model = network().train()
    model[1].eval()
    splitting_for(model)
    assert [module.training for module in model] == [True, False] + [True] * 6
    assert model[1].num_batches_tracked == 0
    assert all(parameter.grad is None for parameter in model.parameters())


def test_projected_channels_are_exactly_zero():
    model, splitting = trained()
    projection = splitting.project()
    zeros = {group.name: int(is_zero(model, group).sum()) for group in splitting.groups}
    assert zeros == {name: before - after for name, (before, after) in projection.channels.items()}
    assert sum(zeros.values()) > 0


def test_survivors_keep_every_bit():
    model, splitting = trained()
    before = copy.deepcopy(model)
    splitting.project()
    for group in splitting.groups:
        gone = is_zero(model, group)
        pairs = zip(vanishing_tensors(model, group), vanishing_tensors(before, group), strict=True)
        for (after, member, axis), (was, _, _) in pairs:
            places = member.index[~gone].flatten()
            assert torch.equal(after.index_select(axis, places), was.index_select(axis, places))


def test_what_belongs_to_no_group_is_not_projected():
    model, splitting = trained()
    before = model[7].weight.detach().clone()
    splitting.project()
    assert torch.equal(model[7].weight, before)


def test_projection_costs_what_the_gap_says():
    model, splitting = trained(total_steps=30)
    before = copy.deepcopy(model)
    projection = splitting.project()
    penalised = {id(p) for group in splitting.groups for p, _, _ in vanishing_tensors(model, group)}
    pairs = [(a, b) for a, b in zip(model.parameters(), before.parameters(), strict=True) if id(a) in penalised]
    lost = sum(float((a - b).detach().square().sum()) for a, b in pairs)
    norm = sum(float(b.detach().square().sum()) for _, b in pairs)
    assert projection.gap == pytest.approx((lost / norm) ** 0.5, rel=1e-3)
    assert projection.gap > 0


@pytest.mark.parametrize("kind", ["macs", "params"])
@pytest.mark.parametrize("align", ["auto", "1", "2", "3"])
def test_the_shrunk_network_costs_what_the_projection_says(kind, align):
    model, splitting = trained(align=align, **({"target_macs": None} | {f"target_{kind}": 0.6}))
    projection = splitting.project()
    small = shrink(model, IMAGE, align=align)
    assert projection.macs == (count_macs(model, IMAGE), count_macs(small, IMAGE))
    assert projection.parameters == (count_parameters(model), count_parameters(small))
    assert projection.reached <= 0.6
    assert projection.met


def test_kept_counts_are_aligned():
    _, splitting = trained(align="3", target_macs=0.7)
    assert set(splitting.project().kept.values()) <= {3, 6, 8}


def test_channels_are_ranked_by_saliency_per_root_of_the_cost_they_save():
    with torch.random.fork_rng():
        # With these weights every other power of the cost keeps other counts.
        torch.manual_seed(1)
        model = nn.Sequential(nn.Linear(5, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 40))
    splitting = Splitting(model, torch.zeros(2, 5), total_steps=1, target_macs=0.5, align="1")
    # A unit of the first layer saves 5 + 16 products, one of the second 16 + 40.
    saved = [21 / 976, 56 / 976]
    scores = [saliency(model, group) / share**0.5 for group, share in zip(splitting.groups, saved, strict=True)]
    splitting.project()
    budget = Budget([splitting.prunable.macs], Alignment(1), ties(splitting.groups))
    assert list(splitting.kept) == budget.allocate(scores, [0.5]).kept
    for group, score, kept in zip(splitting.groups, scores, splitting.kept, strict=True):
        assert set((~is_zero(model, group)).nonzero().flatten().tolist()) == set(score.topk(kept).indices.tolist())


@pytest.mark.parametrize("steps", [7, 11, 20])
def test_projection_keeps_the_last_selection(steps):
    model = network()
    optimizer = optimizer_for(model, "momentum")
    splitting = splitting_for(model, total_steps=steps, beta=(1, 1000))
    splitting.attach(optimizer)
    train(model, optimizer, steps)
    before = list(splitting.kept)
    splitting.project()
    assert list(splitting.kept) == before


def test_the_gap_closes_as_beta_grows():
    model = network()
    splitting = splitting_for(model, total_steps=60, beta=(1, 1000))
    optimizer = optimizer_for(model, "momentum")
    splitting.attach(optimizer)
    train(model, optimizer, 60)
    assert splitting.gap() < 1e-3


def test_entries_that_the_penalty_drops_become_zero_and_are_counted():
    model = network()
    splitting = splitting_for(model, penalty="l0", strength=0.5, target_macs=None, beta=(1, 1))
    projection = splitting.project()
    zeros = sum(int((m.weight == 0).sum()) for m in model if isinstance(m, nn.Conv2d | nn.Linear))
    assert projection.entries_zeroed == zeros > 0


def test_without_a_target_no_channel_is_touched():
    model = network()
    projection = splitting_for(model, penalty="l1", target_macs=None).project()
    assert (projection.kept, projection.macs, projection.reached, projection.met) == ({}, None, None, True)


def test_weights_of_nan_in_between_do_not_spoil_the_selection_once_revised():
    model, splitting = trained()
    sound = copy.deepcopy(model.state_dict())
    with torch.no_grad():
        model[0].weight.fill_(float("nan"))
    splitting.revise()
    model.load_state_dict(sound)
    splitting.revise()
    assert [int((~gone).sum()) for gone in splitting._selection.channels.dropped()] == list(splitting.kept)


def test_two_splittings_from_the_same_start_end_the_same():
    one, two = trained()[0], trained()[0]
    assert same(one, two)


def refused(error, message, **options):
    with pytest.raises(error, match=message):
        splitting_for(network(), **options)


@pytest.mark.parametrize(("macs", "params"), [(0.5, 0.8), (0.9, 0.5)])
def test_of_two_targets_both_are_met_and_the_tighter_binds(macs, params):
    projection = splitting_for(network(), total_steps=1, target_macs=macs, target_params=params).project()
    assert [target.kind for target in projection.targets] == ["macs", "params"]
    assert projection.met
    assert all(target.met for target in projection.targets)
    assert projection.target == max(projection.targets, key=lambda target: target.reached / target.asked)


def test_what_the_next_wider_network_would_have_been_is_named():
    (target,) = splitting_for(network(), total_steps=1, target_macs=0.5).project().targets
    found = re.fullmatch(r"(\d+) instead of (\d+) channels of (\S+): (0\.\d+)", target.next)
    assert found
    assert int(found[1]) > int(found[2])
    assert float(found[4]) > 0.5 >= target.reached


@pytest.mark.parametrize("share", [0, -1, 1.5])
def test_a_target_out_of_range_is_refused(share):
    refused(UsageError, r"--target-macs must lie in \(0, 1\], got", target_macs=share)


def test_a_target_that_cannot_be_reached_is_refused_at_once():
    refused(TargetNotMet, "--target-macs 0.001 asked, 0.[0-9]{3} is the least that can be reached", target_macs=0.001)


class Normed(nn.Module):
    """Half of its channels are normalised across, which keeps them."""

    def __init__(self):
        super().__init__()
        self.first, self.norm, self.second = nn.Linear(5, 8), nn.Softmax(-1), nn.Linear(8, 8)
        self.last = nn.Linear(8, 3)

    def forward(self, x):
        return self.last(torch.relu(self.second(self.norm(self.first(x)))))


def test_a_refused_target_is_explained_by_the_groups_that_stay():
    # Of 40 + 64 + 24 products all but 8 * 4 of the second layer's and 4 * 3 of the last one's stay.
    message = (
        "--target-macs 0.5 asked, 0.656 is the least that can be reached with --align auto:8, which keeps "
        "4 to 8 channels of every group, because these stay: first (81.2%: softmax over the channels in norm), "
        "last (18.8%: its channels are outputs of the network) (compress inspect shows all)"
    )
    with pytest.raises(TargetNotMet) as caught:
        Splitting(Normed(), torch.zeros(2, 5), total_steps=1, target_macs=0.5)
    assert str(caught.value) == message


def test_groups_that_are_left_out_by_name_are_said_to_be():
    with pytest.raises(TargetNotMet, match=r"because these stay: .*fc1 \([0-9.]+%: not in --layers\)"):
        Splitting(lenet5(), torch.zeros(2, 1, 28, 28), total_steps=1, target_macs=0.01, layers=["conv*"])


def test_a_network_without_prunable_channels_is_refused():
    with pytest.raises(TargetNotMet, match=r"no channel of this network can be removed, because .*its channels are"):
        Splitting(nn.Sequential(nn.Linear(5, 3)), torch.zeros(2, 5), total_steps=1, target_macs=0.5)


@pytest.mark.parametrize("strength", [-0.1, float("nan"), float("inf")])
def test_a_strength_that_is_no_threshold_is_refused(strength):
    refused(UsageError, "--strength must be", penalty="l1", strength=strength)


def test_a_strength_without_a_penalty_is_refused():
    refused(UsageError, "--strength 0.3 needs a --penalty", strength=0.3)


def test_an_unknown_penalty_is_refused_with_the_nearest():
    refused(UnknownName, "no penalty is called 'l1-l3'. Did you mean 'l1-l2'?", penalty="l1-l3")


def test_a_bad_alignment_is_refused():
    refused(UsageError, "--align must be auto, auto:BLOCK or a number", align="some")


def test_a_splitting_without_a_penalty_cannot_be_attached():
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 2, 3))
    splitting = Splitting(model, IMAGE, total_steps=1)
    with pytest.raises(UsageError, match="penalises nothing"):
        splitting.attach(torch.optim.SGD(model.parameters(), lr=0.1))
