import gc
import math
import random

import pytest

from compressor.benchmarking.latency import BLOCK_NS, sample

MS = 1_000_000


@pytest.fixture(autouse=True)
def _no_collection(monkeypatch):
    """Before every round garbage is collected, which takes long beside all that the other tests have imported."""
    monkeypatch.setattr(gc, "collect", lambda: 0)


class World:
    """A clock that only calls move, by the cost of the subject plus a drift."""

    def __init__(self, costs, drift=0.0, opening=MS):
        self.now, self.costs, self.drift, self.opening = 0, costs, drift, opening
        self.opened = []

    def clock(self):
        return self.now

    def open(self, index):
        self.opened.append(index)
        self.now += self.opening

        def call():
            self.now += int(self.costs[index] + self.drift * self.now)

        return call

    def sample(self, **options):
        given = {
            "pairs": 4, "rounds": 3, "seconds": 60.0, "order": random.Random(0),
            "settled": lambda rows: True, "clock": self.clock,
        } | options  # fmt: skip
        subjects = [lambda index=index: self.open(index) for index in range(len(self.costs))]
        return sample(subjects, **given)


def test_ratios_are_those_of_the_costs():
    found = World([2 * MS, MS, 2 * MS]).sample()
    assert found.log_ratios == [[0.0] * 4, pytest.approx([math.log(0.5)] * 4), [0.0] * 4]


def test_linear_drift_cancels():
    found = World([MS, MS], drift=1e-4).sample(rounds=8)
    assert found.calls_ns[0][-1] > 1.02 * found.calls_ns[0][0]
    assert max(map(abs, found.log_ratios[1])) < 1e-3


def test_every_pair_opens_every_subject_anew():
    found = World([MS, MS, MS]).sample(pairs=5)
    assert [len(row) for row in found.opens_ns] == [5, 5, 5]


def test_blocks_of_quick_calls_last_a_millisecond():
    found = World([10_000, MS]).sample(pairs=2, rounds=1)
    blocks = 2 * 2
    assert len(found.calls_ns[0]) == blocks * BLOCK_NS / 10_000
    assert len(found.calls_ns[1]) == blocks * 3


def test_pairs_double_twice_at_most_while_unsettled():
    found = World([MS, MS]).sample(settled=lambda rows: False)
    assert (found.pairs, found.doubled) == (16, True)


def test_pairs_stop_doubling_once_settled():
    found = World([MS, MS]).sample(settled=lambda rows: len(rows[0]) >= 8)
    assert (found.pairs, found.doubled) == (8, True)


def test_settled_at_once_is_not_sequential():
    assert not World([MS, MS]).sample().doubled


def test_time_is_kept_within_one_pair():
    world = World([MS, MS])
    world.sample(pairs=1000, seconds=0.5)
    assert 0.3e9 < world.now <= 0.5e9


def test_rounds_give_way_so_that_three_pairs_fit():
    found = World([100 * MS, 100 * MS]).sample(pairs=8, rounds=6, seconds=12.0)
    assert found.rounds == 2
    assert found.pairs == 3


def test_blocks_give_way_when_single_rounds_are_too_long():
    found = World([1000 * MS, 1000 * MS]).sample(seconds=10.0)
    assert (found.rounds, found.pairs) == (1, 2)
    assert len(found.calls_ns[0]) == 2 * 2


def test_two_pairs_are_run_whatever_the_budget():
    assert World([MS, MS]).sample(seconds=1e-9).pairs == 2


def test_one_seed_gives_one_order_and_pairs_differ():
    def opened():
        world = World([MS, MS, MS])
        world.sample(order=random.Random(7))
        return world.opened

    first = opened()
    assert first == opened()
    assert len({tuple(first[i : i + 3]) for i in range(0, 12, 3)}) > 1


def test_progress_counts_pairs():
    seen = []
    World([MS, MS]).sample(pairs=2, tick=lambda done, wanted: seen.append((done, wanted)))
    assert seen == [(1, 2), (2, 2)]
