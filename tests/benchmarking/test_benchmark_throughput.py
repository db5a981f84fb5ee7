"""Items a second in closed loops, and memory, by batch size."""

import random

import pytest

from compressor import benchmarking
from compressor.benchmarking import benchmark
from compressor.benchmarking.memory import CLEAR
from compressor.benchmarking.process import MemoryAnswer, MemoryTask
from compressor.benchmarking.results import throughput_of
from compressor.benchmarking.throughput import ROUNDS, throughput
from compressor.records.benchmark import Memory


class Clock:
    """Nanoseconds that pass only in calls and where a session is opened."""

    def __init__(self):
        self.now, self.opened = 0, []

    def __call__(self):
        return self.now

    def subject(self, name, *, ms, opening_ms=0):
        def call():
            self.now += int(ms * 1e6)

        def opened():
            self.opened.append(name)
            self.now += int(opening_ms * 1e6)
            return call

        return opened


def rates(clock, subjects, items, seconds):
    return throughput(subjects, items, seconds=seconds, order=random.Random(0), clock=clock)


def test_items_a_second_are_those_of_calls_in_a_row_without_opening_and_warming():
    clock = Clock()
    found = rates(clock, [clock.subject("a", ms=2, opening_ms=90), clock.subject("b", ms=10)], [1, 8], 1.0)
    assert found == [[pytest.approx(500)] * ROUNDS, [pytest.approx(800)] * ROUNDS]


def test_every_round_opens_a_fresh_session_of_each_in_another_order():
    clock = Clock()
    rates(clock, [clock.subject(name, ms=1) for name in "abc"], [1, 1, 1], 0.1)
    orders = ["".join(clock.opened[place : place + 3]) for place in range(0, len(clock.opened), 3)]
    assert len(orders) == ROUNDS
    assert all(sorted(order) == ["a", "b", "c"] for order in orders)
    assert len(set(orders)) > 1


def test_slow_models_are_run_in_two_rounds_however_short_the_time():
    clock = Clock()
    assert rates(clock, [clock.subject("a", ms=60_000)], [4], 1.0) == [[pytest.approx(4 / 60)] * 2]


def test_the_interval_is_that_of_the_rounds():
    memory = Memory(session_bytes=5_000.0, run_peak_bytes=700.0, method="")
    found = throughput_of(4, (90.0, 100.0, 110.0), memory)
    assert (found.batch, found.loops, found.peak_bytes) == (4, 3, 5_700.0)
    assert found.items_per_s == pytest.approx((90 * 100 * 110) ** (1 / 3))
    assert found.ci95[0] < 90 < 110 < found.ci95[1]
    assert throughput_of(1, (5.0, 5.0), None).peak_bytes is None


@pytest.fixture(scope="module")
def swept(light, heavy):
    return benchmark([light, heavy], batches=(1, 64), pairs=2, rounds=1, max_seconds=1.0)


def test_a_benchmark_of_several_batches_has_the_throughput_of_each(swept):
    for variant in swept.variants:
        assert [one.batch for one in variant.throughput] == [1, 64]
        for one, latency in zip(variant.throughput, variant.latency, strict=True):
            # A busy machine makes single calls late, never early.
            assert 0 < one.items_per_s < 3 * one.batch / latency.min_ms * 1e3
            assert one.ci95[0] <= one.items_per_s <= one.ci95[1]
    light_rate, heavy_rate = (variant.throughput[1].items_per_s for variant in swept.variants)
    assert light_rate > 2 * heavy_rate


@pytest.mark.skipif(not CLEAR.exists(), reason="this system does not tell how much memory a process needed")
def test_memory_grows_with_the_batch(swept):
    variant = swept.variants[0]
    small, large = (one.peak_bytes for one in variant.throughput)
    assert large > small + 2_000_000  # of the 3 MB that 63 more outputs are
    assert variant.memory.session_bytes + variant.memory.run_peak_bytes == large


def test_one_batch_has_its_latency_alone(measured):
    assert [variant.throughput for variant in measured.variants] == [(), ()]


def test_throughput_is_there_where_memory_cannot_be_told(light, monkeypatch):
    def request(task, answer, on_progress, **limit):
        gone = MemoryAnswer(None, "no /proc")
        return gone if isinstance(task, MemoryTask) else real(task, answer, on_progress, **limit)

    real = benchmarking.request
    monkeypatch.setattr(benchmarking, "request", request)
    (variant,) = benchmark([light], batches=(1, 2), pairs=2, rounds=1, max_seconds=0.2).variants
    assert [one.peak_bytes for one in variant.throughput] == [None, None]
    assert variant.memory is None
