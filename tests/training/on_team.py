"""Trainings by several processes, by itself: `python on_team.py RANKS FOLDER` leaves what each rank ended with."""

from __future__ import annotations

import os
import sys
import warnings
from dataclasses import replace

import torch
from quadrant_samples import samples
from torch import nn
from torch.distributed import FileStore
from torch.utils.data import DataLoader, IterableDataset, TensorDataset, WeightedRandomSampler

from compressor.data.feeds import LoaderFeed
from compressor.data.loaders import Loaders
from compressor.data.samples import Augmentation, DataSet
from compressor.errors import DataError, Diverged
from compressor.launcher import Place
from compressor.ranks import alone
from compressor.records.costs import Aims
from compressor.splitting import SplittingConfig
from compressor.stages.jobs import splitting_for
from compressor.tasks.classification import CLASSIFICATION
from compressor.training import train
from compressor.training.recipe import Recipe
from compressor.training.team import join
from compressor.training.views import Views, draw_views

EXAMPLE = torch.zeros(2, 1, 8, 8)
DATA = DataSet(
    ref="quadrants",
    train=samples(104, 0),
    val=samples(16, 1),
    test=samples(32, 2),
    classes=("a", "b", "c", "d"),
    normalization=None,
    augmentation=Augmentation(shift=1, flip=True),
    split_seed=0,
    val_fraction=0.1,
)
RECIPE = Recipe(epochs=3, batch_size=16, lr=0.05, device="cpu", seed=3)


class Double(nn.Module):
    """Computes in float64; with ``trips``, passes in training whose outputs are infinite, on every rank or on one."""

    def __init__(self, *layers, trips=(), idle=False, zeros=False):
        super().__init__()
        self.layers = nn.Sequential(*layers)
        self.trips, self.passes = trips, 0
        self.idle = nn.Linear(2, 2) if idle else None
        for layer in layers if zeros else ():
            for parameter in layer.parameters():
                parameter.data[::3] = 0
                if parameter.ndim > 1:
                    parameter.data[1, 0] = 0

    def forward(self, x):
        x = self.layers(x.double())
        self.passes += self.training
        return x * float("inf") if self.training and self.passes in self.trips else x


def network(seed=0, *, norms=False, dropout=False, **options):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        layers = [
            nn.Conv2d(1, 8, 3, padding=1), *[nn.BatchNorm2d(8)] * norms, nn.ReLU(), *[nn.Dropout(0.5)] * dropout,
            nn.Conv2d(8, 8, 3, padding=1), *[nn.BatchNorm2d(8)] * norms, nn.ReLU(),
            nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(32, 4),
        ]  # fmt: skip
        return Double(*layers, **options).double()


# What is trained, how, with which penalties, and with a teacher that is asked or was asked.
CASES = {
    "penalty and budget": ({}, {}, {"penalty": "l1-l2", "target_macs": 0.5, "align": "1"}, None),
    "zeros": ({}, {"optimizer": "adamw", "lr": 1e-3}, {"target_macs": 0.7, "target_zeros": 0.5}, None),
    "paper": ({}, {}, {"method": "paper"}, None),
    "accumulated": ({}, {"accumulate": 2, "clip": 0.5, "ema": 0.9}, {}, None),
    "teacher": ({}, {}, {}, "asked"),
    "views": ({}, {}, {}, "views"),
    "idle": ({"idle": True}, {}, {}, None),
    "diverged": ({"trips": (8,)}, {}, {"target_macs": 0.5}, None),
    "recovered": ({"zeros": True}, {"ema": 0.9}, {}, None),
    "averaged": ({}, {"optimizer": "adamw", "lr": 1e-3, "ema": 0.9}, {"target_macs": 0.5}, None),
    # These end otherwise than with one process: each part of a batch has its own statistics, or random numbers.
    "norms": ({"norms": True}, {"ema": 0.9}, {"target_macs": 0.5}, None),
    "slimming": ({"norms": True}, {}, {"method": "slimming"}, None),
    "dropout": ({"dropout": True}, {}, {}, None),
}
OTHERWISE = ("norms", "slimming", "dropout")


def ended(name, team=None):
    """The weights after one of the trainings, and what its epochs were."""
    kind, options, penalties, told = CASES[name]
    model, recipe = network(**kind), replace(RECIPE, **options)
    config, size = SplittingConfig(**penalties), team.place.size if team is not None else 1
    splitting = splitting_for(model, EXAMPLE, DATA, recipe, config, None, Aims(), processes=size)
    teacher = network(seed=5) if told else None
    views = None
    if told == "views":
        drawn = draw_views(DATA, 2, 0)
        views = Views(drawn, torch.randn(2, len(DATA.train), 4, generator=torch.Generator().manual_seed(0)))
    epochs = train(
        model, DATA, recipe, normalization=None, splitting=splitting, teacher=teacher, views=views, team=team
    )
    return {
        "weights": dict(model.named_parameters()),
        "losses": [epoch.loss for epoch in epochs],
        "validation": [epoch.validation and epoch.validation.value for epoch in epochs],
        "halved": [epoch.lr_halved for epoch in epochs],
    }


def diverging(team):
    """A training that diverges on the last rank alone; all say so."""
    model = network(trips=range(100) if team.place.rank == team.place.size - 1 else ())
    try:
        train(model, DATA, RECIPE, normalization=None, team=team)
    except Diverged as error:
        return str(error)
    return None


IMAGES, LABELS = DATA.train.images.float() / 255, DATA.train.labels


class Stream(IterableDataset):
    def __init__(self, order=None):
        self.order = order

    def __iter__(self):
        for index in torch.randperm(len(LABELS)).tolist() if self.order is None else self.order:
            yield IMAGES[index], LABELS[index]

    def __len__(self):
        return len(LABELS)


class Noisy(TensorDataset):
    """Augmented by random numbers of the process that loads."""

    def __getitem__(self, index):
        image, label = super().__getitem__(index)
        return image + torch.rand(()) * 0, label


def loaders(kind, rank=0):
    """The same parts in several forms, of 13 batches; one is another on each rank."""
    pairs = TensorDataset(IMAGES, LABELS)
    listed = [(IMAGES[start : start + 8], LABELS[start : start + 8]) for start in range(0, 104, 8)]
    weights = torch.arange(1, 105, dtype=torch.float64)
    made = {
        "list": listed,
        "map": DataLoader(Noisy(IMAGES, LABELS), 8, shuffle=True),
        "weighted": DataLoader(pairs, 8, sampler=WeightedRandomSampler(weights.tolist(), 104)),
        "workers": DataLoader(pairs, 8, shuffle=True, num_workers=1),
        "stream": DataLoader(Stream(), 8),
        "other streams": DataLoader(Stream([*range(rank, 104), *range(rank)]), 8),
        "other order": DataLoader(pairs, 8, shuffle=True, generator=torch.Generator().manual_seed(rank)),
    }[kind]
    return Loaders(ref="own.py:loaders", train=made, val=listed[:2], test=listed[:2], task=CLASSIFICATION)


def seen(kind, team):
    """The labels of every batch of two epochs, or why they were refused; of a training its weights."""
    feed = LoaderFeed(loaders(kind, team.place.rank))
    found = []
    shuffle = torch.Generator().manual_seed(3)
    with alone(False):
        for number in range(2):
            try:
                drawn = feed.epoch(number, batch_size=8, device=torch.device("cpu"), shuffle=shuffle, share=team.share)
                found.append([labels.tolist() for _, labels in drawn])
            except DataError as error:
                return str(error)
    return found


def of_loaders(kind, team=None):
    """The weights after a training on batches of a user's."""
    model = network()
    train(model, loaders(kind), replace(RECIPE, epochs=2), normalization=None, team=team)
    return dict(model.named_parameters())


def on_rank(rank, ranks, folder):
    warnings.simplefilter("ignore")
    torch.manual_seed(rank)
    place = Place(rank=rank, size=ranks, local_rank=rank, local_size=ranks, address="", port=0)
    team = join(place, RECIPE, FileStore(f"{folder}/store", ranks))
    with alone():
        found = {
            "cases": {name: ended(name, team) for name in CASES},
            "diverging": diverging(team),
            "seen": {kind: seen(kind, team) for kind in ("list", "map", "weighted", "workers", "stream")},
            "refused": {kind: seen(kind, team) for kind in ("other streams", "other order")},
            "loaders": {kind: of_loaders(kind, team) for kind in ("list", "map", "stream")},
        }
    torch.save(found, f"{folder}/{rank}.pt")
    team.leave()


def forked(on_rank, ranks, folder):
    """The exit code of so many processes, which each call ``on_rank`` with their rank, their number and the folder."""
    # Forked after the imports, which take longer than the training.
    children = []
    for rank in range(ranks):
        child = os.fork()
        if not child:
            on_rank(rank, ranks, folder)
            os._exit(0)
        children.append(child)
    return max(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children)


if __name__ == "__main__":
    sys.exit(forked(on_rank, int(sys.argv[1]), sys.argv[2]))
