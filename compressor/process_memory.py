"""What this process may allocate: for parsers and runtimes in C++ that take as much as a file asks of them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from compressor.limits import allowed

if sys.platform != "win32":
    import resource

# A weight is read, packed for the processor, and kept as it was: so often it is in memory.
COPIES = 4
# A network may hold so many times what it is fed: the first layers of usual ones are that much wider.
WIDER = 32


@contextmanager
def bounded(held: int, *, fed: int = 0, limit: int | None = None) -> Iterator[None]:
    """Inside the block, allocations fail beyond ``limit`` bytes, copies of the ``held`` bytes of files, and what a
    network makes of the ``fed`` bytes of its inputs.

    None is the limit of ``--max-memory``. What the process has already does not count; outside of Linux nothing does.
    """
    taken = _allocated()
    if taken is None:
        yield
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    wanted = taken + (allowed() if limit is None else limit) + COPIES * held + WIDER * fed
    lower = [limit for limit in (soft, hard, wanted) if limit != resource.RLIM_INFINITY]
    resource.setrlimit(resource.RLIMIT_DATA, (min(lower), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


def _allocated() -> int | None:
    """Private writable bytes of this process, which is what the system counts."""
    try:
        status = Path("/proc/self/status").read_text(encoding="utf-8")
    except OSError:
        return None
    fields = dict(line.partition(":")[::2] for line in status.splitlines())
    return int(fields["VmData"].split()[0]) * 1024 if "VmData" in fields else None
