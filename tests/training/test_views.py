from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from compressor.data.batches import normalized
from compressor.data.samples import Augmentation, DataSet, Samples
from compressor.training import train
from compressor.training.recipe import Recipe
from compressor.training.views import Views, ask, draw_views


def data_set(augmentation):
    drawn = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (20, 1, 6, 6), generator=drawn, dtype=torch.uint8)
    part = Samples(images, torch.arange(20) % 3)
    return DataSet(
        ref="made",
        train=part,
        val=part.take(torch.arange(3)),
        test=part.take(torch.arange(4)),
        classes=("a", "b", "c"),
        normalization=None,
        augmentation=augmentation,
        split_seed=0,
        val_fraction=0.1,
    )


@pytest.fixture
def data():
    return data_set(Augmentation(shift=2, flip=True))


def network(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(64, 3)).eval()


def seen(views, epoch, data, batch_size=7, seed=3):
    shuffle = torch.Generator().manual_seed(seed)
    known = {"normalization": None, "device": torch.device("cpu"), "shuffle": shuffle}
    return list(views.batches(epoch, data, batch_size=batch_size, **known))


def test_a_view_is_what_apply_makes_of_the_same_draws(data):
    one, other = (torch.Generator().manual_seed(5) for _ in range(2))
    images = data.train.images
    assert torch.equal(data.augmentation.apply(images, one), data.augmentation.drawn(20, other).of(images))


def test_a_part_of_a_view_is_that_part_of_all(data):
    (view,) = draw_views(data, 1, seed=1)
    places = torch.tensor([7, 0, 12])
    assert torch.equal(view.take(places).of(data.train.images[places]), view.of(data.train.images)[places])


def test_views_differ_from_each_other_and_are_the_same_for_a_seed(data):
    images = data.train.images
    one, two = draw_views(data, 2, seed=1)
    assert not torch.equal(one.of(images), two.of(images))
    assert torch.equal(one.of(images), draw_views(data, 2, seed=1)[0].of(images))


def test_every_batch_carries_what_the_teacher_says_of_its_images(data):
    teacher = network(1)
    drawn = draw_views(data, 2, seed=1)
    views = Views(drawn, ask(teacher, data, drawn, None))
    assert views.logits.shape == (2, 20, 3)
    for epoch in range(4):
        found = seen(views, epoch, data)
        assert [len(labels) for _, labels, _ in found] == [7, 7]
        for images, _, said in found:
            with torch.no_grad():
                torch.testing.assert_close(teacher(images), said, rtol=1e-4, atol=1e-5)


def test_epochs_take_turns(data):
    drawn = draw_views(data, 2, seed=1)
    views = Views(drawn, ask(network(1), data, drawn, None))
    first, second, third = (seen(views, epoch, data)[0][0] for epoch in range(3))
    assert torch.equal(first, third)
    assert not torch.equal(first, second)


def test_the_teacher_is_asked_in_evaluation_mode_and_left_as_it_was(data):
    teacher = network(1).train()
    before = copy.deepcopy(teacher.state_dict())
    ask(teacher, data, draw_views(data, 1, seed=1), None)
    assert teacher.training
    assert all(torch.equal(before[name], tensor) for name, tensor in teacher.state_dict().items())


def test_without_augmentation_views_train_the_same_network_as_the_teacher_at_every_step():
    data = data_set(Augmentation())
    teacher, recipe = network(1), Recipe(epochs=3, lr=0.1, batch_size=7, seed=2)
    drawn = draw_views(data, 1, seed=1)
    views = Views(drawn, ask(teacher, data, drawn, None))
    one, other = network(), network()
    train(one, data, recipe, normalization=None, teacher=copy.deepcopy(teacher))
    train(other, data, recipe, normalization=None, views=views)
    for first, second in zip(one.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(first, second, rtol=1e-4, atol=1e-5)


def test_the_teacher_counts(data):
    drawn = draw_views(data, 2, seed=1)
    recipe = Recipe(epochs=1, lr=0.1, batch_size=7, seed=2)
    ends = []
    for seed in (1, 2):
        model = network()
        train(model, data, recipe, normalization=None, views=Views(drawn, ask(network(seed), data, drawn, None)))
        ends.append(next(model.parameters()).detach().clone())
    assert not torch.equal(*ends)


def test_images_are_normalised_as_always(data):
    (view,) = draw_views(data, 1, seed=1)
    views = Views([view], torch.zeros(1, 20, 3))
    ((images, labels, _),) = seen(views, 0, data, batch_size=20)
    order = torch.randperm(20, generator=torch.Generator().manual_seed(3))
    torch.testing.assert_close(images, normalized(view.of(data.train.images)[order], None))
    assert torch.equal(labels, data.train.labels[order])
