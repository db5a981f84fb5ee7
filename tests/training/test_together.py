"""Several processes train one network, by gloo on the CPU: what one process would have made of the same batches."""

from __future__ import annotations

from functools import cache

import on_team
import pytest
import torch
from on_team import CASES, DATA, OTHERWISE, RECIPE

from compressor.data.batches import batches
from compressor.data.feeds import LoaderFeed
from compressor.data.loaders import Loaders
from compressor.data.shares import Share, require_divisible, rounds
from compressor.data.variation import Variation
from compressor.errors import DataError, UsageError
from compressor.tasks.classification import CLASSIFICATION
from compressor.training import train
from compressor.training.team import check_together

pytestmark = pytest.mark.filterwarnings("ignore::compressor.errors.CompressorWarning")
EPOCH_BATCHES = 13


@pytest.fixture(scope="module", params=[2, pytest.param(4, marks=pytest.mark.slow)])
def team(request, left_by_ranks):
    """What each of so many ranks ended with."""
    folder = left_by_ranks(on_team.__file__, request.param)
    return [torch.load(folder / f"{rank}.pt") for rank in range(request.param)]


@cache
def alone(name):
    return on_team.ended(name)


def equal(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def close(one, other):
    return one.keys() == other.keys() and all(
        torch.allclose(one[name], other[name], rtol=0, atol=1e-10) for name in one
    )


@pytest.mark.parametrize("name", CASES)
def test_all_ranks_end_with_the_same_bits(team, name):
    first, *others = [rank["cases"][name] for rank in team]
    for other in others:
        assert equal(first["weights"], other["weights"])
        assert first["losses"] == other["losses"]


@pytest.mark.parametrize("name", sorted(CASES.keys() - set(OTHERWISE)))
def test_it_is_what_one_process_makes_of_the_same_batches(team, name):
    together, one = team[0]["cases"][name], alone(name)
    assert close(together["weights"], one["weights"])
    for key, weight in one["weights"].items():
        assert torch.equal(weight == 0, together["weights"][key] == 0)
    losses = zip(together["losses"], one["losses"], strict=True)
    assert all(ours == theirs or ours == pytest.approx(theirs, rel=1e-5) for ours, theirs in losses)
    assert (together["validation"], together["halved"]) == (one["validation"], one["halved"])


def test_something_is_dropped_and_an_epoch_undone():
    weights = alone("penalty and budget")["weights"]
    assert any(bool((weight == 0).flatten(1).all(1).any()) for weight in weights.values() if weight.ndim > 1)
    assert any(alone("diverged")["halved"])


@pytest.mark.parametrize("name", OTHERWISE)
def test_what_depends_on_the_parts_trains_all_the_same(team, name):
    losses = [loss for loss in team[0]["cases"][name]["losses"] if loss is not None]
    assert losses[-1] < losses[0]
    assert not equal(team[0]["cases"][name]["weights"], alone(name)["weights"])


def test_only_the_first_rank_validates(team):
    first, *others = [rank["cases"]["zeros"]["validation"] for rank in team]
    assert all(first)
    assert all(not any(other) for other in others)


def test_what_diverges_on_one_rank_diverges_on_all(team):
    (told,) = {rank["diverging"] for rank in team}
    assert told.startswith("training diverged 4 times")


@pytest.mark.parametrize("kind", ["list", "map", "weighted", "workers", "stream"])
def test_each_batch_of_a_users_is_trained_on_by_one_rank(team, kind):
    """As many on all, in their order, and none twice; what fills no round is left out."""
    feed, size = LoaderFeed(on_team.loaders(kind)), len(team)
    shuffle = torch.Generator().manual_seed(3)
    for number in range(2):
        drawn = feed.epoch(number, batch_size=8, device=torch.device("cpu"), shuffle=shuffle)
        every = [labels.tolist() for _, labels in drawn][: EPOCH_BATCHES // size * size]
        each = [rank["seen"][kind][number] for rank in team]
        assert [batch for together in zip(*each, strict=True) for batch in together] == every


@pytest.mark.parametrize("kind", ["other streams", "other order"])
def test_ranks_that_are_given_different_batches_are_refused_on_all(team, kind):
    (told,) = {rank["refused"][kind] for rank in team}
    assert "batches of the train part of own.py:loaders differ from process to process" in told


def test_a_step_is_on_the_batches_of_all(team):
    """As one process that is given them as one batch."""
    size, parts = len(team), on_team.loaders("list").train
    whole = [
        tuple(torch.cat(tensors) for tensors in zip(*parts[start : start + size], strict=True))
        for start in range(0, EPOCH_BATCHES // size * size, size)
    ]
    data = Loaders(ref="", train=whole, val=parts[:2], test=parts[:2], task=CLASSIFICATION)
    model = on_team.network()
    train(model, data, on_team.replace(RECIPE, epochs=2), normalization=None)
    assert close(dict(model.named_parameters()), team[0]["loaders"]["list"])
    for kind in ("list", "map", "stream"):
        first, *others = [rank["loaders"][kind] for rank in team]
        assert all(equal(first, other) for other in others)


@pytest.mark.parametrize("size", [1, 2, 4])
@pytest.mark.parametrize("done", [0, 1, 3])
def test_the_parts_of_a_batch_are_those_of_the_whole_one(size, done):
    """Augmented as in the whole, also behind batches that are done."""

    def drawn(share=Share(), done=0):  # noqa: B008
        return list(
            batches(
                DATA.train,
                batch_size=16,
                normalization=None,
                shuffle=torch.Generator().manual_seed(0),
                augmentation=DATA.augmentation,
                drop_last=True,
                share=share,
                done=done,
            )
        )

    each = [drawn(Share(rank, size), done) for rank in range(size)]
    for whole, *parts in zip(drawn()[done:], *each, strict=True):
        assert torch.equal(whole[0], torch.cat([images for images, _ in parts]))
        assert torch.equal(whole[1], torch.cat([labels for _, labels in parts]))


class Mixing(Variation):
    """Draws as much as it likes, and mixes."""

    name, mixes = "mixing", True

    def apply(self, images, generator):
        count = int(torch.randint(9, (), generator=generator))
        return images ^ torch.randint(255, (count + 1,), generator=generator).to(torch.uint8)[-1]

    def mixed(self, images, labels, generator):
        order = torch.randperm(len(labels), generator=generator)
        return images[order], labels[order].float()


def test_an_augmentation_that_mixes_goes_on_behind_batches_that_are_done():
    def drawn(share, done=0):
        given = {"batch_size": 16, "normalization": None, "drop_last": True, "augmentation": Mixing()}
        shuffle = torch.Generator().manual_seed(0)
        return [*batches(DATA.train, **given, shuffle=shuffle, share=share, done=done)]

    shares = [Share(), Share(0, 2), Share(1, 2)]
    for share in shares:
        for (images, labels), (again, others) in zip(drawn(share)[2:], drawn(share, 2), strict=True):
            assert torch.equal(images, again)
            assert torch.equal(labels, others)
    every, *parts = ([labels for _, labels in drawn(share)] for share in shares)
    # The same samples, each once.
    for whole, *own in zip(every, *parts, strict=True):
        assert torch.equal(whole.sort().values, torch.cat(own).sort().values)


def test_norms_that_wait_for_each_other_are_refused():
    model = torch.nn.SyncBatchNorm.convert_sync_batchnorm(on_team.network(norms=True))
    check_together(model, RECIPE, DATA, 1)
    with pytest.raises(UsageError, match=r"layers\.1 is a SyncBatchNorm, which waits for all processes"):
        check_together(model, RECIPE, DATA, 2)


def test_batches_that_cannot_be_divided_are_refused():
    require_divisible(16, 4)
    with pytest.raises(UsageError, match="--batch-size must be a multiple of the 3 processes that train, got 16"):
        require_divisible(16, 3)
    with pytest.raises(UsageError, match="--batch-size must be at least 2 for each of the 16 processes, got 16"):
        require_divisible(16, 16)
    with pytest.raises(DataError, match="has 3 batches, and each of the 4 processes needs one"):
        rounds(3, 4, "own.py:loaders")
