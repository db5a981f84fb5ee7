from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from compressor.architectures.cifar_resnet import resnet20
from compressor.errors import UnknownName, UsageError
from compressor.groups import find_groups
from compressor.saliency import DEFAULT, SALIENCIES, saliency
from compressor.saliency.first_order import FirstOrder
from compressor.splitting import Splitting, SplittingConfig

IMAGES = torch.randn(6, 3, 8, 8, generator=torch.Generator().manual_seed(0))
LABELS = torch.tensor([0, 1, 2, 3, 0, 1])

every_saliency = pytest.mark.parametrize("name", sorted(SALIENCIES))


class Stream(nn.Module):
    """Two producers of one residual stream, and a branch; a mask for every channel group that can be seen in it."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm = nn.Conv2d(3, 6, 3, padding=1, bias=False), nn.BatchNorm2d(6)
        self.inner, self.inner_norm = nn.Conv2d(6, 5, 3, padding=1, bias=False), nn.BatchNorm2d(5)
        self.outer, self.outer_norm = nn.Conv2d(5, 6, 3, padding=1, bias=False), nn.BatchNorm2d(6)
        self.plain, self.head = nn.Conv2d(6, 7, 3), nn.Linear(7, 4)

    def forward(self, x, stream=1.0, inner=1.0, plain=1.0):
        x = F.relu(self.norm(self.first(x)) * stream)
        x = x + self.outer_norm(self.outer(F.relu(self.inner_norm(self.inner(x)) * inner))) * stream
        return self.head((F.relu(self.plain(x) * plain)).mean((2, 3)))


@pytest.fixture
def model():
    torch.manual_seed(1)
    net = Stream()
    for parameter in net.parameters():
        nn.init.normal_(parameter, std=0.5)
    return net.eval()


def with_norms(model):
    """The same with a norm behind every channel."""
    model.plain = nn.Sequential(model.plain, nn.BatchNorm2d(7)).eval()
    nn.init.uniform_(model.plain[1].weight, 0.5, 2)


def groups_of(model):
    return [group for group in find_groups(model, IMAGES) if group.prunable]


def loss_of(model, samples=slice(None), **masks):
    return F.cross_entropy(model(IMAGES[samples], **masks), LABELS[samples])


def learned(name, model, groups):
    """That saliency, having seen what it wants to see."""
    found = saliency(name, model, groups, seed=3)
    if found.observes:
        loss_of(model).backward()
        found.observe()
    if found.calibrated:
        found.learn(loss_of(model, slice(n, n + 1)) for n in range(len(IMAGES)))
    return found


def mask_gradients(model, samples=slice(None)):
    """By autograd: the change of the loss for a factor on everything that vanishes with a channel, by group."""
    masks = {name: torch.ones(size, 1, 1, requires_grad=True) for name, size in SIZES.items()}
    loss = loss_of(model, samples, **masks)
    return {
        name: grad.flatten() for name, grad in zip(masks, torch.autograd.grad(loss, [*masks.values()]), strict=True)
    }


SIZES = {"stream": 6, "inner": 5, "plain": 7}
NAMES = {"first": "stream", "inner": "inner", "plain": "plain", "outer": "stream", "plain.0": "plain"}


@every_saliency
def test_every_channel_has_a_finite_worth(name, model):
    if name == "bn-scale":
        with_norms(model)
    groups = groups_of(model)
    values = learned(name, model, groups).values()
    assert [len(one) for one in values] == [group.channels for group in groups]
    for one in values:
        assert (one.dtype, one.device.type) == (torch.float32, "cpu")
        assert one.isfinite().all()
        assert (one >= 0).all()
        assert len(set(one.tolist())) > 1


@every_saliency
def test_what_was_learned_goes_on_from_its_state(name, model):
    if name == "bn-scale":
        with_norms(model)
    groups = groups_of(model)
    first = learned(name, model, groups)
    again = saliency(name, model, groups, seed=3)
    again.load_state_dict(first.state_dict())
    assert again.ready
    for one, other in zip(first.values(), again.values(), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)


@pytest.mark.parametrize("name", ["taylor", "fisher", "weights", "bn-scale"])
def test_the_scale_of_a_filter_in_front_of_batchnorm_means_nothing(name, model):
    with_norms(model)
    groups = groups_of(model)
    before = learned(name, model, groups).values()
    model.zero_grad()
    with torch.no_grad():
        model.inner.weight[2] *= 20
        model.inner_norm.running_mean[2] *= 20
        # eps does not grow with it.
        variance = model.inner_norm.running_var
        variance[2] = 400 * (variance[2] + model.inner_norm.eps) - model.inner_norm.eps
    for one, other in zip(before, learned(name, model, groups).values(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-5)


def test_first_order_terms_are_the_gradients_of_masks(model):
    groups = groups_of(model)
    assert {NAMES[group.name] for group in groups} == set(SIZES)
    terms = FirstOrder(model, groups)
    found = terms.split(terms.terms(torch.autograd.grad(loss_of(model), terms.parameters)))
    wanted = mask_gradients(model)
    for group, one in zip(groups, found, strict=True):
        torch.testing.assert_close(one, wanted[NAMES[group.name]], rtol=1e-4, atol=1e-6)


def test_without_weights_in_the_norm_its_readers_say_what_a_channel_is_worth(model):
    model.inner_norm = nn.BatchNorm2d(5, affine=False).eval()
    groups = groups_of(model)
    terms = FirstOrder(model, groups)
    found = terms.split(terms.terms(torch.autograd.grad(loss_of(model), terms.parameters)))
    wanted = mask_gradients(model)
    for group, one in zip(groups, found, strict=True):
        torch.testing.assert_close(one, wanted[NAMES[group.name]], rtol=1e-4, atol=1e-6)


def test_fisher_is_the_mean_square_over_single_samples(model):
    groups = groups_of(model)
    single = [mask_gradients(model, slice(n, n + 1)) for n in range(len(IMAGES))]
    wanted = [torch.stack([one[NAMES[group.name]].square() for one in single]).mean(0) for group in groups]
    mean = torch.cat(wanted).mean()
    for one, other in zip(learned("fisher", model, groups).values(), wanted, strict=True):
        torch.testing.assert_close(one, other / mean, rtol=1e-3, atol=1e-6)


def test_fisher_remembers_the_first_of_many_samples(model):
    groups = groups_of(model)
    one, many = saliency("fisher", model, groups), saliency("fisher", model, groups)
    one.learn([loss_of(model)])
    many.learn(100 * loss_of(model) if number == 0 else loss_of(model) for number in range(200))
    # (100^2 + 199) / 200
    torch.testing.assert_close(many.state_dict()["mean"], 50.995 * one.state_dict()["mean"], rtol=1e-3, atol=1e-9)


def test_taylor_is_the_mean_square_over_steps_whatever_a_scaler_multiplied(model):
    groups = groups_of(model)
    found = saliency("taylor", model, groups)
    assert not found.ready
    for factor, part in ((1.0, slice(0, 3)), (1024.0, slice(3, 6))):
        model.zero_grad()
        (factor * loss_of(model, part)).backward()
        found.observe(factor)
    single = [mask_gradients(model, part) for part in (slice(0, 3), slice(3, 6))]
    wanted = [torch.stack([one[NAMES[group.name]].square() for one in single]).mean(0) for group in groups]
    mean = torch.cat(wanted).mean()
    for one, other in zip(found.values(), wanted, strict=True):
        torch.testing.assert_close(one, other / mean, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("wrong", [float("nan"), float("inf")])
def test_a_gradient_without_a_number_says_nothing(model, wrong):
    groups = groups_of(model)
    found = learned("taylor", model, groups)
    before = found.values()
    model.inner_norm.weight.grad[1] = wrong
    found.observe()
    assert all(one.isfinite().all() for one in found.values())
    for group, one, other in zip(groups, before, found.values(), strict=True):
        # The other gradients are those of the step before.
        torch.testing.assert_close(one, other, msg=group.name)


def test_magnitude_and_bn_scale_are_norms_relative_to_their_group(model):
    groups = [group for group in groups_of(model) if NAMES[group.name] == "inner"]
    norms, scales = model.inner.weight.square().sum((1, 2, 3)), model.inner_norm.weight.square()
    for name, wanted in (("magnitude", norms), ("bn-scale", scales)):
        (found,) = saliency(name, model, groups).values()
        torch.testing.assert_close(found, (wanted / wanted.mean()).detach())


def test_bn_scale_names_the_channels_that_have_no_norm(model):
    with pytest.raises(UsageError, match=r"needs a norm with weights behind every channel; plain has none"):
        saliency("bn-scale", model, groups_of(model))


def test_random_is_the_same_for_a_seed_alone(model):
    groups = groups_of(model)
    one, same, other = (torch.cat(saliency("random", model, groups, seed=seed).values()) for seed in (1, 1, 2))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


def trained(model, name, calibrate=True, steps=4):
    model.train()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    splitting = Splitting(model, IMAGES, total_steps=steps, target_macs=0.6, align=1, saliency=name, seed=5)
    if calibrate and splitting.needs_calibration:
        splitting.calibrate(loss_of(model, slice(n, n + 2)) for n in range(3))
    splitting.attach(optimizer)
    for _ in range(steps):
        optimizer.zero_grad()
        loss_of(model).backward()
        optimizer.step()
    return splitting


@every_saliency
def test_every_saliency_reaches_the_target_and_leaves_no_gap(name, model):
    if name == "bn-scale":
        with_norms(model)
    splitting = trained(model, name)
    projection = splitting.project()
    assert projection.gap == 0
    assert projection.target is not None
    assert projection.target.met


def test_saliencies_choose_differently(model):
    models = {name: copy.deepcopy(model) for name in ("taylor", "weights", "random", "magnitude")}
    chosen = {}
    for name, one in models.items():
        splitting = trained(one, name)
        chosen[name] = tuple(tuple(gone.tolist()) for gone in splitting._selection.channels.dropped())
    assert len(set(chosen.values())) == len(chosen)


def test_fisher_must_be_calibrated_before_the_training(model):
    with pytest.raises(UsageError, match=r"--saliency fisher needs a pass of its own: call calibrate"):
        trained(model, "fisher", calibrate=False)


def test_the_option_is_resolved_and_checked():
    assert SplittingConfig(target_macs=0.5).saliency == DEFAULT
    assert SplittingConfig(penalty="l1").saliency is None
    with pytest.raises(UnknownName, match="tailor"):
        SplittingConfig(target_macs=0.5, saliency="tailor")
    with pytest.raises(UsageError, match="--saliency needs a target"):
        SplittingConfig(penalty="l1", saliency="taylor")


class Calls(TorchDispatchMode):
    def __init__(self):
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.count += 1
        return func(*args, **(kwargs or {}))


def test_looking_at_gradients_takes_few_calls_of_operators():
    """Each is a launch on a GPU: about two for a tensor that is summed, whatever else there is."""
    with torch.random.fork_rng():
        model = resnet20()
    found = [group for group in find_groups(model, torch.zeros(2, 3, 32, 32)) if group.prunable]
    terms = FirstOrder(model, found)
    gradients = [torch.ones_like(parameter) for parameter in terms.parameters]
    with Calls() as calls:
        terms.terms(gradients)
    assert len(gradients) > 30
    assert calls.count < 20
