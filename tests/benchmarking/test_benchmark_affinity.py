import os

import pytest

from compressor.benchmarking.affinity import choose, pin

OWN_CORES = {0: "0", 1: "1", 2: "2", 3: "3"}
SHARED = {0: "0,2", 1: "1,3", 2: "0,2", 3: "1,3"}


def test_the_quietest_processor_is_taken():
    assert choose([0, 1, 2, 3], 1, busy={0: 9, 1: 5, 2: 1, 3: 7}, cores=OWN_CORES) == [2]


def test_two_threads_get_two_cores():
    assert set(choose([0, 1, 2, 3], 2, busy={0: 0, 1: 5, 2: 0, 3: 5}, cores=SHARED)) in ({0, 1}, {2, 1})


def test_a_quiet_thread_beside_a_busy_one_is_not_quiet():
    assert choose([0, 1, 2, 3], 1, busy={0: 0, 1: 2, 2: 9, 3: 2}, cores=SHARED) in ([1], [3])


def test_cores_are_shared_when_there_are_too_few():
    assert sorted(choose([0, 1, 2, 3], 4, busy={}, cores=SHARED)) == [0, 1, 2, 3]


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system does not pin")
def test_pinning_keeps_the_processors_given():
    before = os.sched_getaffinity(0)
    try:
        pin(1)
        after = os.sched_getaffinity(0)
    finally:
        os.sched_setaffinity(0, before)
    assert len(after) == 1
    assert after <= before
