"""What lies beside the usual case: closures, layers of zeros, ties, odd lengths, copies, wrappers, other precisions."""

from __future__ import annotations

import copy
import warnings
from dataclasses import replace

import pytest
import torch
from test_attach import CONFIGS, LENGTHS, STEPS, splitting_of
from test_splitting import IMAGE, backward, batch, network, optimizer_for, same, train
from torch import nn
from torch.nn import functional as F

from compressor.data.samples import Augmentation, DataSet, Samples
from compressor.errors import CompressorWarning, UsageError
from compressor.groups import find_groups
from compressor.penalties import PENALTIES, penalty
from compressor.splitting import PaperSplitting, Splitting, SplittingConfig, build_splitting
from compressor.training import train as train_on
from compressor.training.batchnorm import reestimate
from compressor.training.recipe import Recipe

quiet = pytest.mark.filterwarnings("ignore::compressor.errors.CompressorWarning")


def trained(options, steps=20, kind="momentum", model=None, **lengths):
    model = network() if model is None else model
    optimizer = optimizer_for(model, kind) if len(list(model)) == 8 else torch.optim.SGD(model.parameters(), lr=0.05)
    splitting = build_splitting(model, IMAGE, SplittingConfig(**options), **(LENGTHS | lengths))
    splitting.attach(optimizer)
    train(model, optimizer, steps)
    return model, splitting


def outputs(model):
    model.eval()
    with torch.no_grad():
        return model(batch(5)[0])


def quadrants(count=64):
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(count) % 4
    images = torch.randint(0, 90, (count, 3, 8, 8), generator=generator, dtype=torch.uint8)
    samples = Samples(images, labels)
    return DataSet(
        ref="noise", train=samples, val=samples, test=samples, classes=tuple("abcd"), normalization=None,
        augmentation=Augmentation(), split_seed=0, val_fraction=0.1,
    )  # fmt: skip


RECIPE = Recipe(epochs=2, batch_size=16, lr=0.01, device="cpu")


# --- wrong results without a word


@pytest.mark.parametrize("name", CONFIGS)
def test_a_step_with_a_closure_is_one_without(name):
    """Lightning steps like that: the closure computes the gradients, which the hook must not look for before."""

    def run(with_closure):
        model = network()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
        splitting_of(model, CONFIGS[name]).attach(optimizer)
        for step in range(STEPS):

            def closure(step=step):
                optimizer.zero_grad()
                images, labels = batch(step)
                loss = F.cross_entropy(model(images), labels)
                loss.backward()
                return loss

            if with_closure:
                optimizer.step(closure)
            else:
                closure()
                optimizer.step()
        return model

    assert same(run(False), run(True))


@pytest.mark.parametrize("name", ["paper", "rgsm"])
def test_a_closure_that_is_called_again_is_refused_where_the_penalty_is_added_to_gradients(name):
    model = network()
    optimizer = torch.optim.LBFGS(model.parameters(), max_iter=4)
    splitting_of(model, {"method": name, "strength": 1.0}).attach(optimizer)

    def closure():
        optimizer.zero_grad()
        images, labels = batch(0)
        loss = F.cross_entropy(model(images), labels)
        loss.backward()
        return loss

    with pytest.raises(UsageError, match="this optimizer calls its closure several times a step"):
        optimizer.step(closure)


def wide():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(
            nn.Conv2d(3, 32, 3, padding=1, bias=False), nn.BatchNorm2d(32), nn.ReLU(),
            nn.Conv2d(32, 32, 3, padding=1), nn.ReLU(), nn.Conv2d(32, 32, 3, padding=1), nn.ReLU(),
            nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(128, 4),
        )  # fmt: skip


@quiet
@pytest.mark.parametrize(("share", "macs"), [(0.98, 0.3), (0.99, 0.9), (0.995, 0.3)])
def test_a_high_target_of_zeros_beside_one_of_macs_is_reached_or_missed_aloud(share, macs):
    """Closing drops emptied channels, chooses the zeros anew among what is left, which empties more of them."""
    _, splitting = trained({"target_macs": macs, "target_zeros": share}, 30, model=wide(), total_steps=30)
    projection = splitting.project()
    assert projection.zeros == pytest.approx(share, abs=0.01) or projection.warnings


@quiet
def test_a_modest_target_of_zeros_leaves_a_network_that_is_alive():
    """Closing empties the last channel of the only convolution, without a word."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(64) % 4
    images = torch.randint(0, 90, (64, 1, 8, 8), generator=generator, dtype=torch.uint8)
    for image, label in zip(images, labels.tolist(), strict=True):
        top, left = 4 * (label // 2), 4 * (label % 2)
        image[:, top : top + 4, left : left + 4] += 120
    samples = Samples(images, labels)
    data = replace(quadrants(), train=samples, val=samples, test=samples)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = nn.Sequential(
            nn.Conv2d(1, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU(),
            nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(32, 4),
        )  # fmt: skip
    example = torch.rand(2, 1, 8, 8)
    splitting = Splitting(model, example, total_steps=16, target_macs=0.6, target_zeros=0.7, align=1)
    recipe = Recipe(epochs=4, batch_size=16, lr=0.1, device="cpu")
    train_on(model, data, recipe, normalization=None, splitting=splitting)
    projection = splitting.project()
    assert projection.zeros == pytest.approx(0.7, abs=0.02) or projection.warnings
    assert bool((model[0].weight != 0).any()) or projection.warnings


@quiet
@pytest.mark.parametrize("share", [0.5, 0.8])
def test_a_layer_that_starts_at_zero_does_not_cost_the_others_all_their_weights(share):
    """Its unit is the smallest float, so that each of its weights counts as larger than all others."""
    model = network()
    nn.init.zeros_(model[3].weight)
    nn.init.ones_(model[3].bias)
    _, splitting = trained({"target_zeros": share}, 40, model=model, total_steps=40, kind="sgd")
    splitting.project()
    assert all(bool((weight != 0).any()) for weight in splitting._weights.values())


@pytest.mark.parametrize("name", sorted(PENALTIES))
def test_a_layer_that_starts_at_zero_stays_finite(name):
    """W / unit overflows: in 16 bits for every weight, in 32 for those above 4."""
    for dtype, value in ((torch.float32, 5.0), (torch.float16, 0.5)):
        model = network()
        groups = find_groups(model, IMAGE)
        nn.init.zeros_(model[3].weight)
        splitting = Splitting(model.to(dtype), IMAGE, groups=groups, penalty=name, strength=0.3, total_steps=20)
        nn.init.constant_(model[3].weight, value)
        splitting.after_step()
        splitting.after_step()
        assert bool(model[3].weight.isfinite().all()), dtype


@quiet
def test_weights_of_one_size_do_not_all_become_zero_together():
    model = network()
    nn.init.constant_(model[3].weight, 0.1)
    splitting = Splitting(model, IMAGE, total_steps=20, target_zeros=0.5)
    for _ in range(20):
        splitting.after_step()
    assert splitting.project().zeros == pytest.approx(0.5, abs=0.01)


@quiet
@pytest.mark.parametrize("beta", [(1000.0, 1000.0), (1e6, 1e6)])
def test_a_strong_coupling_does_not_lose_the_zeros_of_the_penalty(beta):
    """The zeros are chosen right after an optimiser step, with lambda / beta instead of the step of the pull."""
    _, splitting = trained({"penalty": "l1", "strength": 0.3, "beta": beta}, 40, total_steps=40, kind="sgd")
    assert splitting.project().zeros > 0.1


@pytest.mark.parametrize("skipped", [1, 3])
def test_an_odd_number_of_skipped_steps_leaves_no_gap(skipped):
    """After the last pull an odd step is never pulled; at an even number the gap is zero."""
    _, splitting = trained({"target_macs": 0.5}, 40 - skipped, total_steps=40)
    assert splitting.gap() <= 1e-5


def test_steps_beyond_the_planned_ones_leave_no_gap():
    _, splitting = trained({"target_macs": 0.5}, 21)
    assert splitting.gap() <= 1e-5


# --- the gap and the projection's record


@pytest.mark.parametrize("name", ["budget", "budget with l1-l2"])
def test_a_network_in_64_bits_is_projected(name):
    model = network().double()
    splitting = build_splitting(model, IMAGE.double(), SplittingConfig(**CONFIGS[name]), **LENGTHS)
    for _ in range(20):
        splitting.after_step()
    assert splitting.gap() <= 1e-5


@quiet
@pytest.mark.parametrize(
    "options",
    [
        CONFIGS["budget with l1-l2"],
        CONFIGS["budget with zeros"],
        {"method": "rvsm", "penalty": "l1", "strength": 0.02, "beta": (1.0, 1.0)},
    ],
    ids=["budget with l1-l2", "budget with zeros", "rvsm with l1"],
)
def test_the_gap_is_what_projection_changes(options):
    """Weights of both penalties count twice; where V takes over P(W) is V, which is shrunk."""
    model = network()
    splitting = build_splitting(model, IMAGE, SplittingConfig(**options), **(LENGTHS | {"epoch_steps": 50}))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.03)
    splitting.attach(optimizer)
    train(model, optimizer, 12)
    moved = splitting._affected(model)
    before = [p.detach().clone() for p in moved]
    gap = splitting.gap()
    splitting.project()
    lost = sum(float((p.detach() - w).square().sum()) for p, w in zip(moved, before, strict=True)) ** 0.5
    assert gap == pytest.approx(lost / sum(float(w.square().sum()) for w in before) ** 0.5, rel=1e-3)


def test_projection_without_a_gap_or_a_warning_changes_no_output():
    """The papers' methods zero channels whose weights are gone, with their biases: the gap does not see it."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = nn.Sequential(nn.Flatten(), nn.Linear(192, 32), nn.ReLU(), nn.Linear(32, 16), nn.ReLU(),
                              nn.Linear(16, 4))  # fmt: skip
    splitting = splitting_of(model, CONFIGS["rvsm"])
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    splitting.attach(optimizer)
    train(model, optimizer, 20)
    before = outputs(model)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        projection = splitting.project()
    assert projection.died > 0
    assert projection.warnings or torch.allclose(outputs(model), before, atol=1e-5)


@quiet
@pytest.mark.parametrize("name", ["budget with l1-l2", "budget with zeros", "paper"])
def test_the_entries_zeroed_in_a_copy_are_counted(name):
    """Its gap is found by projecting it, after which nothing is left to count."""
    model, splitting = trained(CONFIGS[name], 12)
    twin = copy.deepcopy(model)
    assert splitting.project(model=twin).entries_zeroed == splitting.project().entries_zeroed > 0


def test_a_copy_is_left_alone_until_the_warning_is_out():
    model, splitting = trained(CONFIGS["budget"], 12)
    twin = copy.deepcopy(model)
    before = copy.deepcopy(twin)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(CompressorWarning):
            splitting.project(model=twin)
    assert same(twin, before)


@pytest.mark.parametrize("name", ["budget", "paper"])
def test_warnings_point_at_the_line_that_projects(name):
    _, splitting = trained(CONFIGS[name], 12)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        splitting.project()
    assert {entry.filename for entry in told} == {__file__}


@pytest.mark.parametrize("steps", [1, 8])
def test_a_target_of_zeros_that_is_missed_is_said(steps):
    _, splitting = trained({"target_zeros": 0.6}, 1, total_steps=steps)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        projection = splitting.project()
    assert projection.zeros == pytest.approx(0.6, abs=0.01) or any("zeros" in text for text in projection.warnings)


# --- errors that should be one line, or none


@pytest.mark.parametrize("name", ["l1", "l1-l2", "mcp", "scad"])
@pytest.mark.parametrize("value", [float("inf"), 1e30])
def test_weights_that_diverge_do_not_stop_the_loop_that_would_undo_them(name, value):
    """lambda follows the weights out of the range of float32: a RuntimeError instead of an epoch that is undone."""
    model = network()
    splitting = splitting_of(model, {"penalty": name, "target_zeros": 0.7})
    for parameter in model.parameters():
        nn.init.constant_(parameter, value)
    for _ in range(4):
        splitting.after_step()


class WithBuffer(nn.Sequential):
    """A persistent causal mask, as attention layers have it."""

    def __init__(self):
        super().__init__(*network())
        self.register_buffer("mask", torch.full((3, 3), -float("inf")).triu(1))


class WithExtraState(nn.Sequential):
    """A network whose state holds more than tensors."""

    def __init__(self):
        super().__init__(*network())

    def get_extra_state(self):
        """Anything."""
        return {"version": 1}

    def set_extra_state(self, state):
        """Nothing."""


@pytest.mark.parametrize("build", [WithBuffer, WithExtraState])
def test_only_trained_weights_must_be_finite(build):
    epochs = train_on(build(), quadrants(), RECIPE, normalization=None)
    assert not any(epoch.lr_halved for epoch in epochs)


@quiet
def test_a_splitting_made_in_inference_mode_works_outside():
    model = network()
    with torch.inference_mode():
        splitting = splitting_of(model, CONFIGS["budget"])
    splitting.after_step()


def test_a_state_of_another_network_is_refused_in_one_line():
    options = {"target_zeros": 0.7}
    splitting = splitting_of(network(), options)
    for _ in range(15):
        splitting.after_step()
    other = nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(), nn.Identity(), nn.Conv2d(6, 8, 3), nn.ReLU(),
                          nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(32, 4))  # fmt: skip
    with pytest.raises(UsageError, match="belongs to another"):
        splitting_of(other, options).load_state_dict(splitting.state_dict())


def test_attach_says_what_it_wants():
    model = network()
    with pytest.raises(UsageError, match="optimizer"):
        splitting_of(model, CONFIGS["budget"]).attach([optimizer_for(model, "sgd")])


def test_an_optimizer_that_is_given_twice_acts_once_or_is_refused():
    def run(times):
        model = network()
        optimizer = optimizer_for(model, "sgd")
        splitting_of(model, CONFIGS["paper"]).attach(*[optimizer] * times)
        train(model, optimizer, 4)
        return model

    try:
        two = run(2)
    except UsageError:
        return
    assert same(two, run(1))


def test_beta_of_many_growths_is_refused_or_infinite():
    splitting = PaperSplitting(
        network(), IMAGE, method="paper", total_steps=400, epoch_steps=1, samples=10, penalty="l1", growth=(10.0, 1)
    )
    splitting.step = 390
    assert splitting.beta > 0


@pytest.mark.parametrize(
    "options",
    [
        {"method": "paper", "beta": (5.0, 5.0)},
        {"method": "paper", "growth": (2.0, 1)},
        {"method": "paper", "penalty": "l1", "group_penalty": "none", "group_strength": 0.5},
    ],
    ids=["beta without V", "growth without V", "group_strength without groups"],
)
def test_an_option_that_changes_nothing_is_refused(options):
    with pytest.raises(UsageError):
        SplittingConfig(**options)


@pytest.mark.parametrize("wrap", ["compiled", "parallel"])
@pytest.mark.filterwarnings("ignore")
def test_a_wrapper_changes_no_names(wrap):
    model = network()
    wrapped = torch.compile(model, backend="eager") if wrap == "compiled" else nn.DataParallel(model)
    options = {"total_steps": 4, "target_macs": 0.9, "align": 1}
    Splitting(wrapped, IMAGE, layers=["0", "3"], **options)
    Splitting(wrapped, IMAGE, **options).project(model=copy.deepcopy(model))


@pytest.mark.parametrize("a", [1e-39, 1e39, 1e300])
@pytest.mark.parametrize("name", ["transformed-l1", "scad", "mcp"])
def test_a_shape_that_overflows_is_refused(name, a):
    with pytest.raises(UsageError, match=f"a of {name} must be"):
        penalty(name, a=a)


def test_a_pull_leaves_an_infinite_weight_that_it_does_not_zero():
    model = network()
    splitting = splitting_of(model, CONFIGS["zeros alone"])
    for _ in range(12):
        splitting.after_step()
    place = tuple((~splitting._single.fixed[1]).nonzero()[0].tolist())
    with torch.no_grad():
        model[3].weight[place] = float("inf")
    splitting.pull(0.1)
    assert float(model[3].weight[place].detach()) == float("inf")


def test_statistics_are_kept_when_there_is_nothing_to_take_them_from():
    model = network()
    model[1].running_mean.fill_(3.0)
    reestimate(model, [])
    assert float(model[1].running_mean[0]) == 3.0


def test_momentum_is_put_back_when_a_batch_fails():
    model = network()
    with pytest.raises(RuntimeError):
        reestimate(model, [torch.zeros(2, 7, 8, 8)])
    assert model[1].momentum == 0.1


@pytest.mark.parametrize("value", [2.5, "3"])
def test_lengths_are_whole_numbers(value):
    with pytest.raises(UsageError, match="total_steps"):
        Splitting(network(), IMAGE, total_steps=value, target_macs=0.6)


@quiet
def test_a_useless_channel_after_closing_is_dropped_then_and_not_at_projection():
    """What dies by the second choice of zeros is left with its bias, which projection then removes."""
    for seed in range(3):
        model = network(seed)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
        splitting = Splitting(model, IMAGE, total_steps=20, target_macs=0.9, target_zeros=0.96, align=1)
        splitting.attach(optimizer)
        for step in range(20):
            optimizer.zero_grad()
            backward(model, step)
            optimizer.step()
        before = [p.detach().clone() for p in model.parameters()]
        assert splitting.gap() <= 1e-5
        splitting.project()
        assert all(torch.equal(p, w) for p, w in zip(model.parameters(), before, strict=True)), seed


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.filterwarnings("error", "ignore:the splitting was stopped", "ignore:projection changes the outputs")
def test_an_average_that_goes_on_is_zeroed_as_by_a_projection_without_a_word(name):
    model = network()
    optimizer, splitting = optimizer_for(model, "sgd"), splitting_of(model, CONFIGS[name])
    splitting.attach(optimizer)
    train(model, optimizer, STEPS - 1)
    silent, projected = copy.deepcopy(model), copy.deepcopy(model)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        splitting.zero(silent)
    splitting.project(projected)
    assert same(silent, projected)
