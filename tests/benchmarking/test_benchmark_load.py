"""What keeps the machine busy, without what we and our children do."""

import os
import signal
import subprocess
import sys
import time

import pytest

from compressor.benchmarking import affinity, load
from compressor.benchmarking.affinity import WATCH_SECONDS
from compressor.benchmarking.load import Watch, busy_processors, own_ticks

FOREVER = "while True: pass"
LEAST_TICKS = 5  # of a process that wants a whole processor for half a second, on a machine that others use too
linux = pytest.mark.skipif(not affinity.STAT.exists(), reason="this system has no /proc/stat")


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """Ticks of the machine, and of processes: pid to its parent and ticks; time goes as it is told to."""
    moments = iter(range(100))
    monkeypatch.setattr(affinity, "STAT", tmp_path / "stat")
    monkeypatch.setattr(load, "PROCESSES", tmp_path / "processes")
    monkeypatch.setattr(load.time, "monotonic", lambda: float(next(moments)))
    monkeypatch.setattr(load.os, "sysconf", lambda name: 100)

    def become(worked, processes):
        (tmp_path / "stat").write_text(f"cpu 0\ncpu0 {worked} 0 0 7 0 0 0 0\n")
        for pid, (parent, *ticks) in processes.items():
            (tmp_path / "processes" / str(pid)).mkdir(parents=True, exist_ok=True)
            fields = ["S", parent, *[0] * 9, *ticks]
            text = f"{pid} (a name) with (odd) marks) {' '.join(map(str, fields))} 0 0"
            (tmp_path / "processes" / str(pid) / "stat").write_text(text)

    return become


ME = os.getpid()


def test_work_of_others_is_what_the_machine_did_less_what_we_did(machine):
    machine(1000, {ME: (1, 10, 0, 5, 0), 2: (ME, 1, 1, 0, 0), 3: (2, 0, 0, 0, 0), 4: (1, 50, 0, 0, 0)})
    watch = Watch()
    # Of 160 ticks 20 are ours, 30 of our child, 10 of its child, and 20 of children that have ended.
    machine(1160, {ME: (1, 25, 5, 20, 5), 2: (ME, 16, 16, 0, 0), 3: (2, 5, 5, 0, 0), 4: (1, 130, 0, 0, 0)})
    assert watch.others() == pytest.approx(0.8)


def test_more_work_of_ours_than_the_machine_noticed_is_none_of_others(machine):
    machine(1000, {ME: (1, 0, 0, 0, 0)})
    watch = Watch()
    machine(1010, {ME: (1, 12, 0, 0, 0)})
    assert watch.others() == 0


@pytest.mark.parametrize("processes", [{}, {4: (1, 0, 0, 0, 0)}])
def test_where_our_own_work_is_not_told_that_of_others_is_unknown(machine, processes):
    machine(1000, processes)
    watch = Watch()
    machine(1100, processes)
    assert watch.others() is None


@pytest.mark.parametrize("ticks", [None, 0])
def test_where_the_work_of_the_machine_is_not_told_that_of_others_is_unknown(machine, ticks):
    if ticks is not None:
        machine(ticks, {ME: (1, 0, 0, 0, 0)})
    assert Watch().others() is None


def test_parents_in_a_ring_end(machine):
    machine(1, {ME: (1, 3, 0, 0, 0), 5: (6, 1, 0, 0, 0), 6: (5, 1, 0, 0, 0)})
    assert own_ticks() == 3


@linux
def test_a_busy_process_that_is_not_ours_is_seen_and_is_not_counted_as_ours(monkeypatch):
    monkeypatch.setattr("compressor.benchmarking.load.WATCH_SECONDS", WATCH_SECONDS)
    # The shell between us ends at once, so that nobody knows any more whose it was.
    command = ["sh", "-c", f"{sys.executable} -c '{FOREVER}' >/dev/null 2>&1 & echo $!"]
    stranger = int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    try:
        own = own_ticks()
        time.sleep(0.3)
        assert own_ticks() - own < LEAST_TICKS
        assert busy_processors() > 0.3
    finally:
        os.kill(stranger, signal.SIGKILL)


@linux
def test_our_busy_child_is_counted_as_ours_while_it_lives_and_after_its_end():
    own = own_ticks()
    with subprocess.Popen([sys.executable, "-c", FOREVER]) as child:
        time.sleep(0.6)
        alive = own_ticks() - own
        child.kill()
    assert alive >= LEAST_TICKS
    assert own_ticks() - own >= alive


@linux
def test_what_we_ourselves_have_just_done_is_counted_as_ours():
    own, until = own_ticks(), time.process_time() + 0.2
    while time.process_time() < until:
        pass
    assert own_ticks() - own >= 15
