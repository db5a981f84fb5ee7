from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path

import pytest

from compressor import process_memory
from compressor.limits import memory_limit
from compressor.process_memory import bounded

# The limit is the whole process's: what exceeds it is tried in one of its own.
HUNGRY = """
from compressor.process_memory import bounded
from compressor.limits import memory_limit
import sys

asked, limit, held, fed = map(int, sys.argv[1:])
try:
    with memory_limit(limit << 20), bounded(held << 20, fed=fed << 20):
        bytearray(asked << 20)
except MemoryError:
    print("refused")
else:
    print("given")
bytearray(asked << 20)
print("free again")
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="only Linux says what a process has")
@pytest.mark.parametrize(
    ("asked", "limit", "held", "fed", "answer"),
    [(300, 100, 0, 0, "refused"), (300, 400, 0, 0, "given"), (300, 100, 60, 0, "given"), (300, 100, 0, 8, "given")],
)
def test_allocations_are_bounded_inside_the_block_alone(environment, asked, limit, held, fed, answer):
    command = [sys.executable, "-c", HUNGRY, *map(str, (asked, limit, held, fed))]
    found = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    assert found.stdout.split("\n")[:2] == [answer, "free again"]


def test_the_limit_is_put_back_after_an_error():
    def limits() -> tuple[int, int]:
        return resource.getrlimit(resource.RLIMIT_DATA)

    def fail() -> None:
        inside.append(limits())
        raise ZeroDivisionError

    before, inside = limits(), []
    with pytest.raises(ZeroDivisionError), memory_limit(2**40), bounded(0):
        fail()
    assert inside[0] != before == limits()


def test_nothing_is_bounded_where_the_system_does_not_tell(monkeypatch):
    monkeypatch.setattr(process_memory, "_allocated", lambda: None)
    before = resource.getrlimit(resource.RLIMIT_DATA)
    with bounded(0, limit=0):
        assert resource.getrlimit(resource.RLIMIT_DATA) == before
