"""Augmentations by name: torchvision's where it is installed, what we make of them everywhere."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import chain

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from compressor.checkpoints import Metadata, Network
from compressor.checkpoints.fingerprints import fingerprint
from compressor.data.augmentations import AUGMENTATIONS, augmented
from compressor.data.feeds import feed_of
from compressor.data.samples import Augmentation, DataSet, Samples
from compressor.data.variation import Several, Variation, drawing
from compressor.errors import DataError, UnknownName, UsageError
from compressor.pipeline.teacher_views import asked_live, fit
from compressor.sources import Architecture
from compressor.stages.fine_tune import fine_tune
from compressor.tasks.base import Task
from compressor.tasks.classification import Classification
from compressor.training.recipe import Recipe
from compressor.training.settings import settings_fingerprint
from compressor.training.states import States

CPU = torch.device("cpu")


def images(count=48, channels=3):
    generator = torch.Generator().manual_seed(1)
    pictures = torch.randint(0, 256, (count, channels, 8, 10), dtype=torch.uint8, generator=generator)
    return Samples(pictures, torch.arange(count) % 3)


def data(**changes):
    parts = {"train": images(), "val": images(9), "test": images(12)}
    fixed = {
        "ref": "npz:x.npz",
        "classes": ("a", "b", "c"),
        "normalization": None,
        "split_seed": 0,
        "val_fraction": 0.2,
    }
    return DataSet(**(parts | fixed | {"augmentation": Augmentation(shift=1, flip=True)} | changes))


@pytest.fixture(scope="module")
def torchvision():
    """Its operators are part of the build for another device; of them only these are asked for when it is imported."""
    for name in ("nms", "qnms"):
        if not hasattr(torch.ops.torchvision, name):
            torch.library.define(f"torchvision::{name}", "(Tensor dets, Tensor s, float t) -> Tensor")
    return pytest.importorskip("torchvision", reason="torchvision is not installed")


every = pytest.mark.parametrize("names", [*AUGMENTATIONS, "random-resized-crop,trivial,mixup", "cutmix,mixup"])


def epoch(names, seed=0, **changes):
    shuffle = torch.Generator().manual_seed(seed)
    feed = feed_of(augmented(data(**changes), names), None)
    return [*chain(*(feed.epoch(n, batch_size=16, device=CPU, shuffle=shuffle) for n in range(2)))]


@every
@pytest.mark.parametrize("channels", [1, 3])
def test_an_augmentation_repeats_with_the_seed_alone(torchvision, names, channels):
    train = images(channels=channels)
    torch.manual_seed(0)
    before = torch.get_rng_state()
    one = epoch(names, train=train)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(1)
    for (x, y), (again, labels) in zip(one, epoch(names, train=train), strict=True):
        assert torch.equal(x, again)
        assert torch.equal(y, labels)
        assert (x.dtype, x.shape[1:]) == (torch.float32, (channels, 8, 10))
        assert x.amin() >= 0
        assert x.amax() <= 1
    others = epoch(names, seed=1, train=train)
    assert not any(torch.equal(x, other) for (x, _), (other, _) in zip(one, others, strict=True))


@every
def test_labels_are_mixed_where_images_are(torchvision, names):
    for _, labels in epoch(names):
        if "mix" in names:
            assert labels.shape == (16, 3)
            torch.testing.assert_close(labels.sum(1), torch.ones(16))
        else:
            assert labels.dtype == torch.int64


@pytest.mark.parametrize("names", ["random-resized-crop", "trivial"])
def test_each_image_is_varied_in_its_own_way(torchvision, names):
    one = data().train.images[:1].repeat(64, 1, 1, 1)
    varied = augmented(data(), names).augmentation.apply(one, torch.Generator().manual_seed(0))
    assert len(varied.flatten(1).unique(dim=0)) > 16


def test_mixup_mixes_images_as_it_mixes_labels(torchvision):
    """Images of one colour, their class: what is left of it is its share."""
    pure = Samples(
        (torch.arange(48) % 3 * 100).to(torch.uint8).view(-1, 1, 1, 1).repeat(1, 1, 8, 10), torch.arange(48) % 3
    )
    for names in ("mixup", "cutmix"):
        for x, shares in epoch(names, train=pure):
            expected = shares @ torch.tensor([0.0, 100 / 255, 200 / 255])
            torch.testing.assert_close(x.mean((1, 2, 3)), expected, atol=1e-4, rtol=0)


def test_images_are_mirrored_only_where_the_data_set_allows_it(torchvision):
    allowed, forbidden = (
        augmented(data(augmentation=Augmentation(flip=flip)), "random-resized-crop").augmentation
        for flip in (True, False)
    )
    symmetric = torch.arange(10, dtype=torch.uint8).repeat(40, 3, 8, 1) * 20  # brighter to the right
    draw = torch.Generator().manual_seed(0)
    rising = [bool((one[..., -1] > one[..., 0]).all()) for one in forbidden.apply(symmetric, draw)]
    assert all(rising)
    mirrored = [bool((one[..., -1] < one[..., 0]).all()) for one in allowed.apply(symmetric, draw)]
    assert 10 < sum(mirrored) < 30


def test_none_changes_nothing():
    for (x, _), (plain, _) in zip(epoch("none"), epoch("none"), strict=True):
        assert torch.equal(x, plain)
    shown = torch.cat([x for x, _ in epoch("none")[:3]])
    original = data().train.images / 255
    assert all((original == image).flatten(1).all(1).any() for image in shown)


def test_shift_flip_is_the_data_sets_own():
    assert augmented(data(), "shift-flip").augmentation == Augmentation(shift=1, flip=True)
    assert str(data().augmentation) == "shift-flip"
    assert str(augmented(data(), "none").augmentation) == "none"


@pytest.mark.parametrize("names", ["shift-flip,none", "none,none", "shift-flip, shift-flip"])
def test_names_that_contradict_each_other_are_refused(names):
    with pytest.raises(UsageError, match="takes 'none', or different names"):
        augmented(data(), names)


@pytest.mark.parametrize("names", ["", "shift-flop", "shift-flip,"])
def test_unknown_names_are_refused(names):
    with pytest.raises(UnknownName, match="no augmentation is called"):
        augmented(data(), names)


@pytest.mark.parametrize("name", sorted(AUGMENTATIONS.keys() - {"shift-flip"}))
def test_a_missing_library_is_one_line(monkeypatch, name):
    monkeypatch.setitem(__import__("sys").modules, "torchvision.transforms", None)
    with pytest.raises(UsageError, match=rf"--augment {name} needs torchvision.*pip install") as caught:
        augmented(data(), name)
    assert "\n" not in str(caught.value)


@dataclass(frozen=True)
class Halved(Variation):
    """Stands for those that mix: half of every image is the next one."""

    name = "mixup"
    mixes = True

    def mixed(self, images, labels, generator):
        shares = F.one_hot(labels, 3).float()
        with drawing(generator).drawn():
            share = torch.rand(())
        return share * images + (1 - share) * images.roll(1, 0), share * shares + (1 - share) * shares.roll(1, 0)


MIXED = data(augmentation=Several((Augmentation(shift=1), Halved())))


def test_mixed_labels_need_a_task_of_classes(monkeypatch):
    monkeypatch.setitem(AUGMENTATIONS, "mixup", f"{__name__}:Halved")
    assert augmented(data(), "mixup").augmentation == Halved()

    class Ranking(Task):
        """Another task."""

    with pytest.raises(UsageError, match=r"mixup mixes the classes .* needs --task classification, got Ranking"):
        augmented(data(task=Ranking()), "mixup")


def network():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = nn.Sequential(nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
                              nn.Linear(6, 4))  # fmt: skip
    return Network(model, Metadata(architecture=Architecture("tiny"), input_shape=(3, 8, 10)))


def test_the_teacher_is_asked_about_what_is_shown():
    """Its answers to views that are kept would be those to other images."""
    assert fit(2, data())
    assert not fit(2, MIXED)
    assert asked_live(data()) == ()
    assert "--augment shift-flip,mixup" in asked_live(MIXED)[0]


def test_a_training_with_mixed_labels_goes_on_where_it_stopped(tmp_path):
    recipe, teacher = Recipe(epochs=3, batch_size=16, lr=0.05, device="cpu"), network().model
    task = Classification(label_smoothing=0.1, class_weights=(1.0, 2.0, 1.0, 3.0))
    mixed = replace(MIXED, task=task)
    whole = fine_tune(network(), mixed, recipe, teacher=teacher)

    class Stopped(Exception):
        pass

    def stop(_):
        raise Stopped

    with States(tmp_path / "s", every=1) as states, pytest.raises(Stopped):
        fine_tune(network(), mixed, recipe, teacher=teacher, states=states, on_epoch=stop)
    with States(tmp_path / "s", every=1) as states:
        again = fine_tune(network(), mixed, recipe, teacher=teacher, states=states)
    one, other = (fingerprint(tuned.network.model.state_dict()) for tuned in (whole, again))
    assert one == other
    assert whole.network.metadata.history[-1]["augmentation"] == "shift-flip,mixup"


def test_another_augmentation_is_another_training():
    from compressor.splitting import SplittingConfig

    asked = {
        settings_fingerprint(network(), one, Recipe(epochs=1, device="cpu"), SplittingConfig())
        for one in (data(), MIXED, data(augmentation=Augmentation()))
    }
    assert len(asked) == 3


@pytest.mark.parametrize("weights", [None, (1.0, 2.0, 0.5)])
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_shares_of_one_class_are_that_class(weights, smoothing):
    task, logits = Classification(label_smoothing=smoothing, class_weights=weights), torch.randn(7, 3)
    labels = torch.arange(7) % 3
    plain, shares = (
        task.loss(lambda _: logits, (torch.zeros(7, 1), said)) for said in (labels, F.one_hot(labels, 3).float())
    )
    torch.testing.assert_close(plain, shares)


def test_the_loss_of_shares_is_the_mean_of_those_of_the_classes():
    logits, shares = torch.randn(5, 4), torch.rand(5, 3).softmax(1)
    by_hand = -(logits.log_softmax(1)[:, :3] * shares).sum(1).mean()
    torch.testing.assert_close(Classification().loss(lambda _: logits, (torch.zeros(5, 1), shares)), by_hand)


@pytest.mark.parametrize("labels", [torch.rand(5), torch.rand(5, 4)])
def test_labels_that_are_no_shares_are_refused(labels):
    with pytest.raises(DataError, match="the network tells 3 classes apart"):
        Classification().loss(lambda _: torch.randn(5, 3), (torch.zeros(5, 1), labels))


def test_of_several_that_mix_each_batch_gets_one():
    @dataclass(frozen=True)
    class Marked(Variation):
        mark: int = 0
        mixes = True

        def mixed(self, images, labels, generator):
            return images, labels + self.mark

    both, seen = Several((Marked(1), Marked(100))), set()
    for seed in range(20):
        _, labels = both.mixed(torch.zeros(1), torch.zeros(1), torch.Generator().manual_seed(seed))
        seen.add(int(labels))
    assert seen == {1, 100}
