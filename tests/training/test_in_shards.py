"""Several processes train one network of which each holds a part, by gloo on the CPU: what one process would make."""

from __future__ import annotations

from functools import cache

import on_shards_of_team
import on_team
import pytest
import torch
from on_shards_of_team import TRAINED
from on_team import RECIPE
from torch import nn

from compressor.errors import UsageError
from compressor.shards import fill
from compressor.splitting import SplittingConfig
from compressor.training.recipe import Recipe
from compressor.training.sharding import LEAST, blocks, check_shards

pytestmark = pytest.mark.filterwarnings("ignore::compressor.errors.CompressorWarning")


@pytest.fixture(scope="module", params=[2, pytest.param(4, marks=pytest.mark.slow)])
def team(request, left_by_ranks):
    """What each of so many ranks ended with."""
    folder = left_by_ranks(on_shards_of_team.__file__, request.param)
    return [torch.load(folder / f"{rank}.pt", weights_only=False) for rank in range(request.param)]


@cache
def alone(name):
    return on_team.ended(name)


def apart(one, other):
    assert one.keys() == other.keys()
    return max(float((one[name].detach().double() - other[name].detach().double()).abs().max()) for name in one)


@pytest.mark.parametrize("name", TRAINED)
def test_it_is_what_one_process_makes_of_the_same_batches(team, name):
    """On the first rank, which has the whole network then; the others know the figures of the loss."""
    together, one = team[0]["cases"][name], alone(name)
    assert apart(together["weights"], one["weights"]) < 1e-10
    for key, weight in one["weights"].items():
        assert torch.equal(weight == 0, together["weights"][key] == 0)
    losses = zip(together["losses"], one["losses"], strict=True)
    assert all(ours == theirs or ours == pytest.approx(theirs, rel=1e-5) for ours, theirs in losses)
    assert (together["validation"], together["halved"]) == (one["validation"], one["halved"])
    assert all(rank["cases"][name]["losses"] == together["losses"] for rank in team)


def test_zeros_are_kept_and_something_is_trained():
    weights, begun = alone("recovered")["weights"], dict(on_team.network(zeros=True).named_parameters())
    for name, weight in begun.items():
        assert torch.equal(weight == 0, weights[name] == 0), name
        assert not torch.equal(weight, weights[name])


def test_each_rank_holds_its_part(team):
    """Of the weights, their average and the two tensors of AdamW."""
    numbers = sum(parameter.numel() for parameter in on_team.network(norms=True).parameters())
    assert {rank["held"] for rank in team} == {4 * numbers // len(team)}


def test_a_state_is_that_of_one_process(team):
    """The same names, kinds and shapes."""

    def form(value):
        if isinstance(value, torch.Tensor):
            return type(value), value.shape, value.dtype, value.device.type
        if isinstance(value, dict):
            return {name: form(inner) for name, inner in value.items()}
        return [*map(form, value)] if isinstance(value, list | tuple) else type(value)

    assert form(team[0]["kept"]["state"]) == form(on_shards_of_team.kept()["state"])


def test_it_goes_on_within_an_epoch_with_the_same_bits(team):
    once, again = team[0]["kept"], team[0]["gone on"]
    assert apart(once["weights"], again["weights"]) == 0
    assert (once["channels"], once["gap"]) == (again["channels"], 0.0)


@pytest.mark.parametrize("way", ["with", "from"])
def test_it_goes_on_with_and_from_whole_networks(team, way):
    once, again = team[0]["kept"], team[0][f"gone on {way} ddp"]
    assert apart(once["weights"], again["weights"]) < 1e-10
    assert once["channels"] == again["channels"]


class Tied(nn.Module):
    """An embedding and a head of one weight, a part that is read and not called, and blocks that hold containers."""

    def __init__(self):
        super().__init__()
        self.embedding, self.head = nn.Embedding(200, 128), nn.Linear(128, 200, bias=False)
        self.head.weight = self.embedding.weight
        self.read = nn.Linear(128, 128)
        layer = nn.TransformerEncoderLayer(128, 4, 128, batch_first=True)
        self.body = nn.ModuleDict({"encoder": nn.TransformerEncoder(layer, 2), "small": nn.Linear(4, 4)})
        self.stages = nn.Sequential(nn.Sequential(nn.Linear(128, 128), nn.ReLU()), nn.Linear(128, 128))
        self.tied = nn.ModuleList([self.head])


def test_blocks_are_what_containers_hold_and_share_nothing():
    model = Tied()
    names = [name for name, module in model.named_modules() if module in blocks(model)]
    assert names == ["body.encoder", "stages.0.0", "stages.1"]
    assert all(sum(one.numel() for one in block.parameters()) >= LEAST for block in blocks(model))


@pytest.mark.parametrize(
    ("options", "penalties", "message"),
    [
        ({"compile": True}, {}, "--compile is not there with --strategy fsdp; leave it out, or use --strategy ddp"),
        ({"precision": "16"}, {}, "--precision 16 scales the loss, which --strategy fsdp does not; use bf16 or 32"),
        ({}, {"method": "paper"}, "--method paper needs whole weights: use --strategy ddp, or --method budget"),
    ],
)
def test_what_needs_whole_weights_is_refused(options, penalties, message):
    with pytest.raises(UsageError, match=message):
        check_shards(nn.Linear(2, 2), Recipe(epochs=1, **options), SplittingConfig(**penalties))


def test_a_parameter_without_rows_is_refused():
    model = nn.Linear(2, 2)
    model.scale = nn.Parameter(torch.ones(()))
    with pytest.raises(UsageError, match=r"scale is a single number, .* make it a tensor of shape \(1,\)"):
        check_shards(model, RECIPE)


def test_a_whole_tensor_is_filled_as_a_copy():
    own = torch.zeros(3)
    fill(own, torch.arange(3.0))
    assert own.tolist() == [0, 1, 2]
