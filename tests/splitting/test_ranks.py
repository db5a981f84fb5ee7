"""Several processes that train one network, by gloo on the CPU: what one of them decides holds for all."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import on_ranks
import pytest
import torch
from on_ranks import CONFIGS, ended

import compressor
from compressor.ranks import Ranks

pytestmark = pytest.mark.filterwarnings("ignore::compressor.errors.CompressorWarning")


@pytest.fixture(scope="module", params=[2, pytest.param(4, marks=pytest.mark.slow)])
def ranks(request, left_by_ranks):
    """What each of so many ranks ended with."""
    folder = left_by_ranks(on_ranks.__file__, request.param)
    return [torch.load(folder / f"{rank}.pt") for rank in range(request.param)], folder


@cache
def alone(name):
    """One process with the batches of all ranks."""
    return ended(CONFIGS[name])


def equal(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("part", ["plain", "norms", "other starts"])
def test_all_ranks_end_with_the_same_weights(ranks, part):
    (first, *others), _ = ranks
    for name, outcome in first[part].items():
        for other in others:
            assert equal(outcome["weights"], other[part][name]["weights"]), name
            assert outcome["channels"] == other[part][name]["channels"]


@pytest.mark.parametrize("name", CONFIGS)
def test_a_network_without_norms_ends_as_with_one_process(ranks, name):
    (first, *_), _ = ranks
    outcome, (model, projection) = first["plain"][name], alone(name)
    assert outcome["channels"] == projection.channels
    for key, weight in model.named_parameters():
        assert torch.equal(weight == 0, outcome["weights"][key] == 0)
        assert torch.allclose(weight, outcome["weights"][key], rtol=0, atol=1e-10)


def test_training_on_ranks_drops_something(ranks):
    (first, *_), _ = ranks
    assert any(kept < all_ for all_, kept in first["norms"]["taylor"]["channels"].values())
    assert abs(first["norms"]["zeros"]["zeros"] - 0.5) < 0.01


def test_a_training_that_is_stopped_early_is_projected_alike(ranks):
    first, *others = [rank["stopped"] for rank in ranks[0]]
    assert any(kept < all_ for all_, kept in first["channels"].values())
    assert all(equal(first["weights"], other["weights"]) for other in others)


def test_what_the_first_rank_has_tried_binds_all(ranks):
    first, *others = [rank["tried"] for rank in ranks[0]]
    assert all(first["kept"] == other["kept"] and equal(first["weights"], other["weights"]) for other in others)


@pytest.mark.parametrize(
    ("part", "told"),
    [
        ("other length", "total_steps is 12 on rank 0 and 13 on rank 1"),
        ("other target", "config target_macs is 0.5 on rank 0 and 0.6 on rank 1"),
    ],
)
def test_ranks_that_are_set_up_differently_are_refused_on_all(ranks, part, told):
    assert {rank[part] for rank in ranks[0]} == {f"the ranks' splittings differ: {told}; make it the same on all"}


def test_ranks_that_train_a_network_each_are_refused_on_all(ranks):
    (told,) = {rank["not one network"] for rank in ranks[0]}
    assert told.startswith("after a step the ranks have different weights (0.weight), so they do not train one network")


def test_only_the_process_group_of_a_wrapped_network_agrees(ranks):
    first, *others = [rank["apart"] for rank in ranks[0]]
    for other in others:
        assert equal(first["weights"], other["weights"]) == (first["half"] == other["half"])


def test_batchnorm_statistics_are_averaged_over_the_batches_of_all_ranks(ranks):
    first, *others = [rank["statistics"] for rank in ranks[0]]
    assert all(equal(first["wrapped"], other["wrapped"]) for other in others)
    assert not equal(first["bare"], others[0]["bare"])
    counts = [int(rank["bare"]["1.num_batches_tracked"]) for rank in (first, *others)]
    assert counts == [2 + rank for rank in range(len(counts))]
    for name in ("1.running_mean", "4.running_var"):
        each = torch.stack([rank["bare"][name] for rank in (first, *others)])
        wanted = (each * torch.tensor(counts)[:, None]).sum(0) / sum(counts)
        assert torch.allclose(first["wrapped"][name], wanted, rtol=0, atol=1e-12)


def test_a_file_that_all_ranks_write_is_whole(ranks):
    assert compressor.load(Path(ranks[1]) / "all.pt", trust_arch=True).model is not None


def test_one_process_asks_nobody():
    """Not even whether there is anything to ask."""
    alone = Ranks(torch.nn.Linear(2, 2))
    value = object()
    assert alone.of_first(lambda: value) is value
    assert alone.of_each(value) == [value]
