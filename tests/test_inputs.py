"""What networks are called with and return: structures of tensors, several examples, which outputs count."""

from __future__ import annotations

from collections import OrderedDict, namedtuple
from dataclasses import dataclass

import pytest
import torch
from torch import nn

from compressor.costs import count_macs
from compressor.equivalence import outputs, relative_difference
from compressor.errors import UsageError
from compressor.groups import find_groups, zero
from compressor.inputs import Examples, batch_of, chosen, each, named_arguments, random_inputs
from compressor.shrinking import remove_zero_channels, shrink
from compressor.splitting import Splitting
from compressor.structures import mapped, tensors

ONE, TWO = torch.ones(2, 3), torch.zeros(2)
Point = namedtuple("Point", "x y")


@dataclass(frozen=True)
class Frozen:
    first: torch.Tensor
    other: object = None


NESTED = {"a": [ONE, None, 3], "b": (TWO, Point(ONE, 0.5)), "c": Frozen(TWO, OrderedDict(d=ONE)), "e": "text"}


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def test_every_tensor_of_a_structure_is_found_with_its_path():
    paths = [path for path, _ in tensors(NESTED)]
    assert paths == [("a", 0), ("b", 0), ("b", 1, "x"), ("c", "first"), ("c", "other", "d")]


def test_a_changed_structure_is_the_same_structure_and_leaves_the_old_one():
    made = mapped(NESTED, lambda tensor: tensor + 1)
    assert [float(tensor.max()) for _, tensor in tensors(made)] == [2, 1, 2, 1, 2]
    assert not bool(TWO.any())
    assert (type(made["b"][1]), type(made["c"]), type(made["c"].other)) == (Point, Frozen, OrderedDict)
    assert made["a"][1:] == [None, 3]
    assert made["e"] == "text"


@pytest.mark.parametrize(
    ("example", "batch"),
    [
        (ONE, 2),
        ((ONE, TWO), 2),
        ((ONE, torch.tensor(0.5), None), 2),
        ((ONE, torch.ones(1, 2, 4)), None),
        ([ONE, ONE], None),
        ({"x": ONE, "y": 3}, 2),
    ],
)
def test_a_batch_is_what_all_tensors_agree_on(example, batch):
    assert batch_of(example) == batch


def test_where_there_is_no_batch_shapes_words_and_single_numbers_stay():
    state, words, scale = torch.zeros(1, 2, 4), torch.tensor([[3, 1], [2, 0]]), torch.tensor(0.25)
    drawn = random_inputs((words, state, scale), seeded(), batch=5, dtype=torch.float64)
    assert torch.equal(drawn[0], words)
    assert (drawn[1].shape, drawn[1].dtype) == (state.shape, torch.float64)
    assert bool(drawn[1].ne(0).all())
    assert float(drawn[2]) == 0.25


def test_examples_are_drawn_one_by_one_and_keep_what_counts():
    drawn = random_inputs(Examples(ONE, {"x": TWO}, outputs="y"), seeded(), dtype=torch.float64)
    assert [len(example) for example in (drawn.calls[0], drawn.calls[1]["x"])] == [2, 2]
    assert (drawn.outputs, drawn.precision) == ("y", torch.float64)
    assert each(drawn, torch.abs).precision is torch.float64


class Two(nn.Module):
    def forward(self, one, other=None, *, last=None):
        return one


def test_arguments_are_named_as_forward_names_them():
    assert [*named_arguments(Two(), (ONE, TWO))] == ["one", "other"]
    assert [*named_arguments(Two(), {"last": TWO, "one": ONE})] == ["one", "last"]
    assert [*named_arguments(nn.Sequential(), (ONE,))] == ["input"]


@dataclass
class Found:
    boxes: torch.Tensor
    aux: tuple[torch.Tensor, ...]


FOUND = Found(ONE, (TWO, torch.ones(4)))


@pytest.mark.parametrize(
    ("choice", "paths"),
    [
        (None, [("boxes",), ("aux", 0), ("aux", 1)]),
        ("boxes", [("boxes",)]),
        (0, [("boxes",)]),
        ("aux.1", [("aux", 1)]),
        (["aux.0", "boxes"], [("aux", 0), ("boxes",)]),
        (lambda found: found.aux, [(0,), (1,)]),
    ],
)
def test_what_counts_is_chosen_by_key_place_or_function(choice, paths):
    assert [path for path, _ in chosen(FOUND, choice)] == paths


@pytest.mark.parametrize("choice", ["scores", "2", "aux.2", "boxes.0"])
def test_what_is_not_returned_is_refused_by_name(choice):
    with pytest.raises(UsageError, match=rf"--outputs {choice}: the network returns a Found of boxes, aux"):
        chosen(FOUND, choice)


class Branching(nn.Module):
    """Long inputs take another path."""

    def __init__(self):
        super().__init__()
        self.fc, self.short, self.long = nn.Linear(3, 8), nn.Linear(8, 4), nn.Linear(8, 4)

    def forward(self, x):
        x = self.fc(x)
        return (self.long if x.shape[1] > 4 else self.short)(x.relu()).sum(1)


def test_several_examples_are_followed_and_compared():
    examples = Examples(torch.randn(2, 3, 3, generator=seeded()), torch.randn(2, 6, 3, generator=seeded()))
    (group,) = [group for group in find_groups(Branching(), examples) if group.prunable]
    assert [(member.module, member.role) for member in group.members] == [
        ("fc", "producer"),
        ("short", "consumer"),
        ("long", "consumer"),
    ]


def test_one_splitting_and_one_removal_follow_several_examples():
    model = Branching()
    examples = Examples(torch.randn(2, 3, 3, generator=seeded()), torch.randn(2, 6, 3, generator=seeded()))
    splitting = Splitting(model, examples, total_steps=4, target_macs=0.5, align=1)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    splitting.attach(optimizer)
    for _ in range(4):
        optimizer.step()
    splitting.project()
    small = shrink(model, examples, align=1)
    assert small.fc.out_features == small.short.in_features == small.long.in_features < 8
    differences = map(relative_difference, outputs(model.eval(), examples), outputs(small.eval(), examples))
    assert max(differences) <= 1e-6


def test_macs_are_those_of_one_sample_of_the_first_example():
    model, one = Branching(), torch.randn(2, 3, 3)
    assert count_macs(model, Examples(one, torch.randn(2, 6, 3))) == count_macs(model, one) == 3 * (3 * 8 + 8 * 4)


def test_a_list_holds_one_sample_in_each_tensor():
    class Stacked(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(3, 8)

        def forward(self, images):
            return self.fc(torch.stack(images))

    assert count_macs(Stacked(), [torch.randn(3)] * 5) == 24


def test_a_network_that_returns_no_tensor_is_refused():
    class Silent(nn.Module):
        def forward(self, x):
            return {"name": "silent"}

    with pytest.raises(UsageError, match="returns no tensor whose channels could be followed"):
        find_groups(Silent(), ONE)


def test_an_example_that_the_network_does_not_take_is_one_line_with_the_module():
    with pytest.raises(UsageError, match=r"does not run on its example in 1 \(RuntimeError: mat1 and mat2"):
        find_groups(nn.Sequential(nn.Linear(3, 8), nn.Linear(7, 4)), ONE)


def test_lengths_that_must_be_sorted_stay_as_they_are():
    class Packed(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc, self.gru, self.head = nn.Linear(3, 8), nn.GRU(8, 6, batch_first=True), nn.Linear(6, 4)

        def forward(self, x, lengths):
            packed = nn.utils.rnn.pack_padded_sequence(self.fc(x), lengths, batch_first=True)
            return self.head(self.gru(packed)[1][-1])

    found = find_groups(Packed(), (torch.randn(4, 5, 3), torch.tensor([5, 4, 2, 1])))
    assert {group.name for group in found} >= {"head"}


def test_differences_of_whole_numbers_and_truth_values_are_seen():
    assert relative_difference(torch.tensor([True, False]), torch.tensor([True, True])) == 1.0
    assert relative_difference(torch.tensor([2], dtype=torch.uint8), torch.tensor([3], dtype=torch.uint8)) == 0.5


class Graph:
    """Of a class that nobody here knows."""

    def __init__(self, x, edges):
        self.x, self.edges = x, edges


class Messages(nn.Module):
    """Sums over neighbours."""

    def __init__(self):
        super().__init__()
        self.first, self.second, self.head = nn.Linear(3, 8), nn.Linear(8, 6), nn.Linear(6, 2)

    def forward(self, graph):
        x = self.first(graph.x).relu()
        sums = torch.zeros_like(x).index_add(0, graph.edges[0], x[graph.edges[1]])
        return self.head(self.second(x + sums).relu())


def removed(model, example):
    groups = [group for group in find_groups(model.eval(), example) if group.prunable]
    for group in groups:
        zero(model, group, torch.arange(group.channels // 2))
    return remove_zero_channels(model, example, groups=groups, align=1).removal


def test_what_nobody_can_look_into_is_given_as_it_is():
    graph = Graph(torch.randn(6, 3), torch.randint(6, (2, 9)))
    removal = removed(Messages(), graph)
    assert removal.channels_removed == 7
    assert removal.float64 <= 1e-9
    assert removal.inputs == "the example"


def test_sparse_tensors_stay_as_they_are():
    class Sparse(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.head = nn.Linear(3, 8), nn.Linear(8, 2)

        def forward(self, x, adjacency):
            return self.head(torch.sparse.mm(adjacency, self.first(x)).relu())

    adjacency = (torch.rand(6, 6, generator=seeded()) > 0.5).float().to_sparse()
    removal = removed(Sparse(), (torch.randn(6, 3), adjacency))
    assert removal.channels_removed == 4
    assert removal.float64 <= 1e-9


def test_a_square_mask_keeps_its_size_where_the_batch_is_as_long():
    class Masked(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second, self.head = nn.Linear(3, 8), nn.Linear(8, 6), nn.Linear(6, 2)

        def forward(self, x, mask):
            x = self.first(x)
            weights = (x @ x.transpose(1, 2)).masked_fill(mask, -1e4).softmax(-1)
            return self.head(self.second(weights @ x).relu())

    mask = torch.ones(4, 4, dtype=torch.bool).triu(1)
    assert removed(Masked(), (torch.randn(4, 4, 3), mask)).channels_removed == 7
