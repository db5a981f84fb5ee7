from __future__ import annotations

import copy

import pytest
import torch
from msgspec.structs import asdict
from quadrant_samples import samples
from torch import nn
from torch.nn import functional as F

from compressor.data.samples import Augmentation, DataSet
from compressor.errors import CompressorError
from compressor.groups import find_groups, is_zero, zero
from compressor.splitting import Splitting
from compressor.training import train
from compressor.training.batchnorm import reestimate_on
from compressor.training.evaluation import model_accuracy
from compressor.training.recipe import Recipe
from compressor.training.undoing import RETRIES

IMAGE = torch.rand(2, 1, 8, 8, generator=torch.Generator().manual_seed(0))


def quadrants(train_count=64):
    return DataSet(
        ref="quadrants",
        train=samples(train_count, 0),
        val=samples(16, 1),
        test=samples(32, 2),
        classes=("a", "b", "c", "d"),
        normalization=None,
        augmentation=Augmentation(),
        split_seed=0,
        val_fraction=0.1,
    )


DATA = quadrants()


def network(seed=0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(
            nn.Conv2d(1, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU(),
            nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(32, 4),
        )  # fmt: skip


def recipe(**options):
    return Recipe(**({"epochs": 4, "batch_size": 16, "lr": 0.1, "device": "cpu"} | options))


def run(model, data=DATA, *, splitting=None, teacher=None, **options):
    return train(model, data, recipe(**options), normalization=None, splitting=splitting, teacher=teacher)


def same(one, other):
    return all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True))


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_the_loss_falls_and_the_classes_are_learnt(optimizer):
    epochs = run(network(), epochs=8, optimizer=optimizer, lr=0.1 if optimizer == "sgd" else 0.02)
    assert epochs[-1].loss < 0.5 * epochs[0].loss
    assert epochs[-1].validation.value > 0.9


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_the_same_seed_gives_the_same_bits(optimizer):
    one, two = network(), network()
    run(one, optimizer=optimizer)
    run(two, optimizer=optimizer)
    assert same(one, two)


def test_another_seed_gives_another_network():
    one, two = network(), network()
    run(one, seed=0)
    run(two, seed=1)
    assert not same(one, two)


def test_epochs_are_numbered_and_plain():
    epochs = run(network(), epochs=2)
    assert [epoch.epoch for epoch in epochs] == [1, 2]
    assert (epochs[0].macs_kept, epochs[0].beta, epochs[0].gap, epochs[0].lr_halved) == (None, None, None, False)
    assert asdict(epochs[0])["loss"] == epochs[0].loss


def test_every_epoch_is_told_as_it_ends():
    seen = []
    train(network(), DATA, recipe(epochs=3), normalization=None, on_epoch=seen.append)
    assert [epoch.epoch for epoch in seen] == [1, 2, 3]


def test_progress_ends_at_one():
    shares = []
    train(network(), DATA, recipe(), normalization=None, progress=lambda share, text: shares.append(share))
    assert shares == sorted(shares)
    assert shares[-1] == 1


def test_without_validation_samples_there_is_no_accuracy():
    data = quadrants()
    data = DataSet(**(vars(data) | {"val": data.val.take(torch.tensor([], dtype=torch.int64))}))
    assert run(network(), data, epochs=1)[0].validation is None


def test_fewer_samples_than_a_batch_are_trained_on():
    model = network()
    before = copy.deepcopy(model)
    run(model, quadrants(8), epochs=1, batch_size=64)
    assert not same(model, before)


def test_the_network_comes_back_on_the_cpu_in_eval_mode_and_in_plain_memory():
    model = network()
    run(model, epochs=1)
    assert not any(module.training for module in model.modules())
    assert model[0].weight.is_contiguous()
    assert not model[0].weight.isnan().any()


def test_zeros_stay_zero_without_a_splitting():
    model = network()
    group = find_groups(model, IMAGE)[0]
    zero(model, group, torch.tensor([2, 5]))
    with torch.no_grad():
        model[5].weight[0, 0] = 0
    run(model)
    assert is_zero(model, group).nonzero().flatten().tolist() == [2, 5]
    assert model[5].weight[0, 0] == 0


def test_a_splitting_reports_its_figures():
    model = network()
    splitting = Splitting(model, IMAGE, total_steps=16, target_macs=0.5)
    last = run(model, splitting=splitting)[-1]
    assert splitting.step == 16
    assert last.macs_kept <= 0.5
    assert last.beta is None  # infinite: the gap is closed
    assert last.gap == 0


def test_a_teacher_draws_the_student_to_its_answers():
    teacher = network(seed=5)
    run(teacher, epochs=8)
    # What the labels do not tell: the teacher's scores are flat and favour the first class.
    with torch.no_grad():
        teacher[5].weight *= 0.1
        teacher[5].bias[0] += 1
    alone, taught = network(), network()
    run(alone, epochs=8)
    run(taught, epochs=8, teacher=teacher)
    assert distance(taught, teacher) < 0.5 * distance(alone, teacher)


def test_the_share_of_the_teacher_counts():
    teacher, ends = network(seed=5), []
    for share in (0.0, 0.5, 1.0):
        student = network()
        run(student, teacher=teacher, teacher_share=share)
        ends.append(distance(student, teacher))
    assert ends[0] > ends[1] > ends[2]


@torch.no_grad()
def distance(student, teacher):
    images = DATA.test.images.float() / 255
    return float(F.kl_div(student(images).log_softmax(1), teacher(images).softmax(1), reduction="batchmean"))


def test_the_teacher_is_not_trained():
    teacher = network(seed=5)
    before = copy.deepcopy(teacher)
    run(network(), epochs=1, teacher=teacher)
    assert same(teacher, before)


class Explosive(nn.Module):
    """A network whose scores are infinite in the given passes in training mode."""

    def __init__(self, passes):
        super().__init__()
        self.inner, self.passes, self.count = network(), passes, 0

    def forward(self, x):
        scores = self.inner(x)
        self.count += self.training
        return scores * float("inf") if self.training and self.count in self.passes else scores


def test_a_diverged_epoch_is_undone():
    before, seen = network(), []
    model = Explosive({3})

    def look(epoch):
        seen.append((epoch, same(model.inner, before)))

    train(model, DATA, recipe(epochs=1), normalization=None, on_epoch=look)
    (undone, was_same), (done, is_same) = seen
    assert (undone.loss, undone.lr_halved, was_same) == (None, True, True)
    assert (done.epoch, done.lr_halved, is_same) == (1, False, False)


def test_after_a_diverged_epoch_the_training_goes_on():
    epochs = run(Explosive({3}), epochs=8)
    assert [epoch.lr_halved for epoch in epochs] == [True] + [False] * 8
    assert [epoch.epoch for epoch in epochs] == [1, 1, 2, 3, 4, 5, 6, 7, 8]
    assert epochs[-1].validation.value > 0.9


def test_the_very_next_step_has_half_the_learning_rate(monkeypatch):
    rates = []
    real = torch.optim.SGD.step

    def step(self, *args, **options):
        rates.append(self.param_groups[0]["lr"])
        return real(self, *args, **options)

    monkeypatch.setattr(torch.optim.SGD, "step", step)
    run(network(), epochs=2)
    undisturbed = rates.copy()
    rates.clear()
    run(Explosive({4}), epochs=2)
    whole = len(undisturbed) // 2
    assert rates[:whole] == undisturbed[:whole]
    # The epoch that diverged is done again.
    assert rates[whole:] == pytest.approx([rate / 2 for rate in undisturbed])


def test_a_training_that_always_diverges_gives_up():
    with pytest.raises(
        CompressorError, match=r"training diverged 4 times \(loss nan\), .* learning rate of 0.0125; use a smaller --lr"
    ):
        run(Explosive(set(range(1000))), epochs=10)


def test_giving_up_loses_nothing():
    model = Explosive(set(range(5, 1000)))
    good = {}
    with pytest.raises(CompressorError):
        train(
            model, DATA, recipe(epochs=10), normalization=None,
            on_epoch=lambda epoch: good.update(copy.deepcopy(model.state_dict())) if epoch.epoch == 1 else None,
        )  # fmt: skip
    assert all(torch.equal(tensor, good[name]) for name, tensor in model.state_dict().items())


def test_weights_that_overflow_in_the_last_step_are_undone():
    model = network()
    model.register_forward_hook(lambda module, args, scores: scores * 1e4)
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(CompressorError, match="training diverged 4 times"):
        run(model, quadrants(16), epochs=1, lr=1e38)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_a_diverged_epoch_does_not_spoil_the_selection():
    model = Explosive({9})
    splitting = Splitting(model, IMAGE, total_steps=16, target_macs=0.5)
    run(model, splitting=splitting)
    assert splitting.project().met
    # Thresholds of NaN would have pulled every channel to zero.
    assert (model.inner[1].weight.abs() > 0.5).sum() == 4


def test_fewer_divergences_than_retries_are_survived():
    bad = {4 * place + 1 for place in range(RETRIES)}
    epochs = run(Explosive(bad), epochs=1)
    assert [epoch.lr_halved for epoch in epochs] == [True] * RETRIES + [False]


def test_a_splitting_goes_back_with_the_weights():
    model = Explosive({2 * 4 + 3})
    splitting = Splitting(model, IMAGE, total_steps=3 * 4, target_macs=0.5)
    epochs = run(model, splitting=splitting, epochs=3)
    assert [epoch.lr_halved for epoch in epochs] == [False, False, True, False]
    assert splitting.step == 3 * 4
    assert splitting.project().warnings == ()


def test_validation_beside_a_splitting_has_fresh_norm_statistics():
    model = network()
    splitting = Splitting(model, IMAGE, total_steps=4, target_macs=0.5)
    (epoch,) = run(model, splitting=splitting, epochs=1)
    own = copy.deepcopy(model.state_dict())
    fresh = copy.deepcopy(model)
    assert reestimate_on(fresh, DATA, None, recipe().seed) == 1
    assert not torch.equal(fresh[1].running_mean, own["1.running_mean"])
    assert epoch.validation == model_accuracy(fresh, DATA.val, None)
    assert all(torch.equal(tensor, own[name]) for name, tensor in model.state_dict().items())
