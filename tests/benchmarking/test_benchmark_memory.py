import subprocess
import sys

import pytest

from compressor.benchmarking import memory

MIB = 1 << 20

linux = pytest.mark.skipif(not memory.CLEAR.exists(), reason="needs /proc")


ALLOCATE = """
import numpy as np
from compressor.benchmarking import memory

def open_call():
    kept = np.ones(16 << 20, np.uint8)
    return lambda: (kept, np.ones(32 << 20, np.uint8).sum())

found = memory.footprint(open_call)
print(found.session_bytes, found.run_peak_bytes)
"""


@linux
def test_session_and_peak_are_told_apart():
    # In a fresh process, as in use: here the allocator may hand back pages that are resident already.
    done = subprocess.run([sys.executable, "-c", ALLOCATE], capture_output=True, text=True, check=True)
    session, peak = map(int, done.stdout.split())
    assert session == pytest.approx(16 * MIB, rel=0.1)
    assert peak == pytest.approx(32 * MIB, rel=0.1)


def test_a_system_that_does_not_tell_raises_before_any_work(monkeypatch, tmp_path):
    monkeypatch.setattr(memory, "CLEAR", tmp_path / "missing" / "clear_refs")
    with pytest.raises(OSError, match="clear_refs"):
        memory.footprint(pytest.fail)


def test_a_field_that_is_not_there_is_named(monkeypatch, tmp_path):
    status = tmp_path / "status"
    status.write_text("VmRSS:\t 12 kB\n")
    monkeypatch.setattr(memory, "STATUS", status)
    assert memory.status_bytes("VmRSS") == 12 * 1024
    with pytest.raises(OSError, match="has no VmHWM"):
        memory.status_bytes("VmHWM")
