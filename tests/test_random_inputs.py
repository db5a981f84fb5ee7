import pytest
import torch

from compressor.equivalence import random_inputs


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def test_numbers_are_as_wide_as_the_example_and_the_same_for_a_seed():
    drawn = random_inputs(torch.zeros(5, 3, 2), seeded(), batch=4, dtype=torch.float64)
    assert (drawn.shape, drawn.dtype) == ((4, 3, 2), torch.float64)
    assert torch.equal(drawn, random_inputs(torch.zeros(1, 3, 2), seeded(), batch=4, dtype=torch.float64))
    assert not torch.equal(drawn, random_inputs(torch.zeros(1, 3, 2), seeded(1), batch=4, dtype=torch.float64))


@pytest.mark.parametrize(("given", "expected"), [(1, 2), (2, 2), (7, 7)])
def test_without_a_batch_there_are_as_many_as_in_the_example_and_at_least_two(given, expected):
    words, numbers = random_inputs((torch.zeros(given, 4, dtype=torch.long), torch.zeros(given, 4)), seeded())
    assert len(words) == len(numbers) == expected


def test_every_sample_of_words_comes_once_before_any_comes_twice():
    words = torch.arange(6).reshape(3, 2)
    drawn = random_inputs(words, seeded(), batch=7)
    assert [sorted(row.tolist() for row in part) for part in (drawn[:3], drawn[3:6])] == [words.tolist()] * 2
    assert torch.equal(drawn[6], drawn[0])


def test_words_and_their_mask_stay_beside_each_other():
    words = torch.arange(20).reshape(10, 2)
    drawn = random_inputs({"words": words, "mask": words % 3 == 0}, seeded(), batch=10)
    assert isinstance(drawn, dict)
    assert not torch.equal(drawn["words"], words)
    assert torch.equal(drawn["mask"], drawn["words"] % 3 == 0)


def test_words_do_not_change_the_numbers_that_come_before_them():
    alone = random_inputs((torch.zeros(2, 3),), seeded())[0]
    assert torch.equal(random_inputs((torch.zeros(2, 3), torch.zeros(2, dtype=torch.long)), seeded())[0], alone)
