"""A network that FSDP2 has put in shards, by gloo on the CPU: it ends as in one process."""

from __future__ import annotations

from functools import cache

import on_shards
import pytest
import torch
from on_shards import CONFIGS, OF_NORMS, averaged, ended, network
from torch import nn

from compressor.splitting.auxiliary import units_of
from compressor.splitting.zero_target import smallest, threshold_of_share

pytestmark = pytest.mark.filterwarnings("ignore::compressor.errors.CompressorWarning")
RANKS = [2, pytest.param(4, marks=pytest.mark.slow)]
CLOSE = {"rtol": 0, "atol": 1e-10}


@pytest.fixture(scope="module", params=RANKS)
def ranks(request, left_by_ranks):
    """What each of so many ranks ended with."""
    folder = left_by_ranks(on_shards.__file__, request.param)
    parts = [[torch.load(folder / f"{part}-{rank}.pt", weights_only=False) for part in ("first", "second")]
             for rank in range(request.param)]  # fmt: skip
    return [one | two for one, two in parts]


alone = cache(ended)


def same(one, other):
    """Whether two states are equal, to the bit."""
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(same, one, other))
    return one == other


def ends_as(found, wanted):
    assert found["projection"].channels == wanted["projection"].channels
    assert found["projection"].entries_zeroed == wanted["projection"].entries_zeroed
    assert found["projection"].zeros == wanted["projection"].zeros
    assert found["projection"].sparsity == wanted["projection"].sparsity
    assert found["small"] == wanted["small"]
    assert found["seen"]["gap"] == pytest.approx(wanted["seen"]["gap"], abs=1e-10)
    assert found["seen"]["zeros"] == wanted["seen"]["zeros"]
    for outputs, known in zip(found["seen"]["outputs"], wanted["seen"]["outputs"], strict=True):
        assert torch.allclose(outputs, known, **CLOSE)
    for name, weight in wanted["weights"].items():
        assert torch.equal(weight == 0, found["weights"][name] == 0), name
        assert torch.allclose(weight, found["weights"][name], **CLOSE), name


@pytest.mark.parametrize("name", CONFIGS)
def test_a_network_without_norms_ends_as_in_one_process(ranks, name):
    ends_as(ranks[0]["plain"][name], alone(name))


@pytest.mark.parametrize("name", CONFIGS)
def test_the_state_is_that_of_one_process(ranks, name):
    state, wanted = ranks[0]["plain"][name]["state"], alone(name)["state"]
    assert state.keys() == wanted.keys()
    for key in state.keys() & {"kept", "dropped", "fixed", "step", "weights", "groups"}:
        assert same(state[key], wanted[key]), key


@pytest.mark.parametrize(("part", "name"), [*(("plain", n) for n in CONFIGS), *(("norms", n) for n in OF_NORMS)])
def test_all_ranks_have_one_state_and_one_projection(ranks, part, name):
    first, *others = [rank[part][name] for rank in ranks]
    assert first["left"] == 0
    for other in others:
        assert same([first["state"], first["seen"]], [other["state"], other["seen"]])
        assert (first["projection"], first["left"]) == (other["projection"], other["left"])


def test_training_in_shards_drops_something(ranks):
    for name in OF_NORMS:
        channels = ranks[0]["norms"][name]["projection"].channels
        assert any(kept < all_ for all_, kept in channels.values())
    assert abs(ranks[0]["norms"]["zeros"]["projection"].zeros - 0.5) < 0.02
    assert (
        ranks[0]["plain"]["frozen"]["projection"].channels.keys()
        < ranks[0]["plain"]["taylor"]["projection"].channels.keys()
    )


def test_every_penalty_pulls_shards_as_it_pulls_whole_weights(ranks):
    for rank in ranks:
        for name, (sharded, plain) in rank["pulled"].items():
            assert any((one != other).any() for one, other in zip(plain, network().parameters(), strict=True)), name
            for one, other in zip(sharded, plain, strict=True):
                assert torch.allclose(one, other, rtol=0, atol=1e-14), name


def test_of_equal_weights_in_shards_the_first_go_first(ranks):
    for rank in ranks:
        for share, (sharded, plain) in rank["chosen"].items():
            assert same(sharded, plain), share


def test_every_saliency_values_shards_as_whole_weights(ranks):
    for rank in ranks:
        for name, (sharded, plain) in rank["worth"].items():
            assert len(plain) > 1, name
            for one, other in zip(sharded, plain, strict=True):
                assert torch.allclose(one, other, rtol=1e-5, atol=0), name


def test_a_step_exchanges_one_vector_and_keeps_no_whole_weight(ranks):
    """A penalty that couples the entries of a tensor asks for every tensor once a pull."""
    for rank in ranks:
        for name, found in rank["exchanged"].items():
            assert found["observing"] == 1
            assert found["pulling"] == (found["weights"] if name == "l1-l2" else 0)
            assert found["kept"] == 0


def test_replicas_of_shards_end_as_in_one_process(ranks):
    if len(ranks) < 4:
        pytest.skip("two ranks have no replicas of shards")
    for name, found in ranks[0]["replicas"].items():
        ends_as(found, alone(name))


def test_an_average_in_shards_is_projected_as_in_one_process(ranks):
    wanted = averaged()
    assert wanted["gap"] > 0.1
    for rank in ranks:
        assert rank["averaged"]["gap"] == pytest.approx(wanted["gap"], abs=1e-10)
        for name, weight in wanted["weights"].items():
            assert torch.allclose(weight, rank["averaged"]["weights"][name], **CLOSE), name


def test_what_is_resumed_in_other_processes_ends_equal(ranks):
    """From a checkpoint by torch.distributed.checkpoint, taken after the zeros were chosen."""
    for resumed in ranks[0]["resumed"]:
        assert same(ranks[0]["saved"], resumed)
    assert any((weight == 0).any() for weight in ranks[0]["saved"].values())


def test_batchnorm_statistics_are_those_of_the_batches_of_all_ranks(ranks):
    for rank in ranks:
        for name, wanted in rank["statistics"]["alone"].items():
            assert torch.allclose(rank["statistics"]["sharded"][name], wanted, **CLOSE), name


@pytest.mark.parametrize(
    ("what", "told"),
    [
        ("of shards", "make the splitting of the whole network, before fully_shard"),
        ("shrink", "gather it first: get_model_state_dict"),
        ("save", "gather it first: get_model_state_dict"),
        ("export", "gather it first: get_model_state_dict"),
        ("paper", "--method paper needs whole weights"),
        ("rvsm", "--method rvsm needs whole weights"),
        ("slimming", "--method slimming needs whole weights"),
        ("first", "use torch.distributed.fsdp.fully_shard, which keeps rows whole"),
        ("first with views", "use torch.distributed.fsdp.fully_shard, which keeps rows whole"),
        ("a part", "call fully_shard on the network itself too"),
        ("columns", "use fully_shard without shard_placement_fn"),
        ("meshes", "call fully_shard with the same mesh for all"),
        ("renamed", "the network has no parameter stem.0.weight any more"),
        ("calibrate", "call calibrate before fully_shard"),
        ("settle", "call settle before fully_shard"),
        ("another form", "only one lies in shards"),
        ("one loads", "the ranks' splittings differ: step is 5 on rank 0 and 0 on rank 1"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line_on_all_ranks(ranks, what, told):
    (text,) = {rank["refusals"][what] for rank in ranks}
    assert told in text
    assert "\n" not in text


@pytest.mark.parametrize("share", [0.0, 0.001, 0.3, 0.5, 0.9, 1.0])
@pytest.mark.parametrize("ties", [False, True])
def test_the_smallest_weights_are_those_of_a_sort(share, ties):
    generator = torch.Generator().manual_seed(0)
    weights = [torch.randn(shape, generator=generator) for shape in ((6, 5), (4, 6, 3, 3))]
    if ties:
        weights = [weight.mul(2).round() for weight in weights]
    units = dict(zip(weights, units_of(weights), strict=True))
    masks = [torch.rand(weight.shape, generator=generator) < 0.7 for weight in weights]
    every = torch.cat([(weight.abs() / units[weight])[mask] for weight, mask in zip(weights, masks, strict=True)])
    count = round(share * len(every))
    wanted = float(every.sort().values[count - 1]) if count else 0.0
    assert threshold_of_share(weights, masks, units, share) == wanted

    chosen = smallest(weights, masks, units, share)
    largest = [torch.zeros_like(mask) for mask in masks]
    for mask, weight in zip(largest, weights, strict=True):
        for row, values in zip(mask, weight, strict=True):
            row.view(-1)[values.abs().argmax()] = True
        for column, values in zip(mask.transpose(0, 1), weight.transpose(0, 1), strict=True):
            place = int(values.reshape(-1).abs().argmax())
            column[tuple(int(i) for i in torch.unravel_index(torch.tensor(place), column.shape))] = True
    free = torch.cat([(m & ~big).flatten() for m, big in zip(masks, largest, strict=True)])
    sizes = torch.cat([(weight.abs() / units[weight]).flatten() for weight in weights])
    order = [place for place in sizes.argsort(stable=True).tolist() if free[place]]
    brute = torch.zeros(len(sizes), dtype=torch.bool)
    brute[order[: min(len(order), count)]] = True
    assert torch.equal(torch.cat([mask.flatten() for mask in chosen]), brute)


def test_a_plain_network_is_not_in_shards():
    from compressor.shards import any_sharded, mesh_group

    assert not any_sharded(nn.Linear(2, 2))
    assert mesh_group(nn.Linear(2, 2)) is None
