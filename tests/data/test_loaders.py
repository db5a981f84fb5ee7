from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

from compressor.data.feeds import feed_of
from compressor.data.loaders import Loaders, is_code, load_loaders
from compressor.errors import CompressorError, DataError
from compressor.tasks import load_task

CPU = torch.device("cpu")
TASK = load_task("regression")
BATCHES = [(torch.ones(4, 2), torch.zeros(4)), (torch.ones(2, 2), torch.zeros(2))]


def loaders(train=BATCHES, val=BATCHES, test=BATCHES):
    return Loaders(ref="mine.py:loaders", train=train, val=val, test=test, task=TASK)


def shuffled(count=12):
    return DataLoader(TensorDataset(torch.arange(count), torch.zeros(count)), 4, shuffle=True)


def epoch(data, number, seed=0):
    shuffle = torch.Generator().manual_seed(seed)
    drawn = feed_of(data, None).epoch(number, batch_size=1, device=CPU, shuffle=shuffle)
    return torch.cat([inputs for inputs, _ in drawn]).tolist()


class Stream(IterableDataset):
    """Has no length."""

    def __init__(self, counts):
        self.counts = iter(counts)

    def __iter__(self):
        return iter([torch.ones(2)] * next(self.counts))


def test_batches_and_samples_are_counted():
    assert (loaders().batches, loaders().train_samples) == (2, 8)
    assert loaders(train=DataLoader(Stream([1, 3, 3]), batch_size=None)).batches == 3


def test_an_epoch_has_its_own_order_and_always_the_same():
    data = loaders(train=shuffled())
    assert epoch(data, 0) == epoch(data, 0) != epoch(data, 1)
    assert sorted(epoch(data, 1)) == [*range(12)]
    assert epoch(data, 0, seed=1) != epoch(data, 0)


def test_what_a_loader_draws_changes_nothing_outside():
    class Noisy(torch.utils.data.Dataset):
        def __len__(self):
            return 3

        def __getitem__(self, index):
            return torch.tensor([random.random(), np.random.rand(), float(torch.rand(()))]), 0.0  # noqa: NPY002

    def state():
        return random.getstate(), str(np.random.get_state()), torch.get_rng_state().tolist()  # noqa: NPY002

    data, before = loaders(train=DataLoader(Noisy(), 1)), state()
    drawn = feed_of(data, None).epoch(0, batch_size=1, device=CPU, shuffle=torch.Generator().manual_seed(0))
    first = next(drawn)
    assert state() == before
    others = [*drawn]
    assert state() == before
    assert not torch.equal(first[0], others[0][0])
    assert [epoch(data, 0) for _ in range(2)] == [torch.cat([one for one, _ in (first, *others)]).tolist()] * 2


def test_an_epoch_with_other_batches_is_told():
    data = loaders(train=DataLoader(Stream([1, 2, 2, 3]), batch_size=None))
    assert data.batches == 2
    shuffle = torch.Generator()
    assert len([*feed_of(data, None).epoch(0, batch_size=1, device=CPU, shuffle=shuffle)]) == 2
    with pytest.raises(DataError, match=r"the train part of mine\.py:loaders gave 3 batches in an epoch, and says 2"):
        list(feed_of(data, None).epoch(1, batch_size=1, device=CPU, shuffle=shuffle))


def test_what_torch_collates_to_lists_are_tuples():
    (batch,) = feed_of(loaders(test=[[torch.ones(2, 1), torch.zeros(2)]]), None).part("test", CPU)
    assert isinstance(batch, tuple)


def test_about_so_many_samples_are_taken_for_statistics():
    data = loaders(train=[(torch.ones(4, 2), torch.zeros(4))] * 5)
    assert len([*feed_of(data, None).varied(most=10, batch_size=1, seed=0, device=CPU)]) == 3


@pytest.mark.parametrize(
    ("part", "told"),
    [
        (3, "the val part of mine.py:loaders is a int; batches to go through are needed"),
        ((batch for batch in BATCHES), "is a generator, which is empty after one epoch; return a DataLoader or a list"),
        ([], "the val part of mine.py:loaders has no batch"),
        (["words"], "gives a str without tensors as a batch"),
        (DataLoader([object()]), "the val part of mine.py:loaders failed to give a batch: TypeError"),
    ],
    ids=["number", "generator", "empty", "text", "failing"],
)
def test_parts_that_are_no_batches_are_told(part, told):
    with pytest.raises(CompressorError, match=told.replace(".", r"\.")):
        loaders(val=part)


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ("return 3", "returned a int; three are needed: train, validation and test batches"),
        ("return [1, 2]", "returned 2 parts; three are needed"),
        ("return {'train': 1, 'test': 2}", "returned a dict; three are needed"),
        ("raise OSError('no disk')", "failed with .*OSError: no disk"),
        ("raise SystemExit(3)", "it left the process"),
    ],
)
def test_functions_that_return_something_else_are_told(tmp_path, body, told):
    file = tmp_path / "mine.py"
    file.write_text(f"def loaders():\n    {body}\n")
    with pytest.raises(CompressorError, match=told):
        load_loaders(f"{file}:loaders", TASK)


def test_other_code_is_another_fingerprint(tmp_path):
    file, marks = tmp_path / "mine.py", []
    for scale in (1, 1, 2):
        file.write_text(
            f"import torch\ndef loaders():\n    return [[(torch.full((2, 1), {scale}.0), torch.ones(2))]] * 3\n"
        )
        marks.append(load_loaders(f"{file}:loaders", TASK).fingerprint)
    assert marks[0] == marks[1] != marks[2]


@pytest.mark.parametrize(
    ("ref", "code"),
    [
        ("mine.py:loaders", True),
        ("mine.py", True),
        ("package.module:loaders", True),
        ("folder:photos.v2", False),
        ("npz:a.npz", False),
        ("digits", False),
        ("flder:photos", False),
    ],
)
def test_what_names_code(ref, code):
    assert is_code(ref) == code
