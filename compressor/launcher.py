"""Which of several processes this one is, as the launcher that started it says: ``torchrun``, ``fabric run`` or us."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from dataclasses import dataclass

from compressor.errors import UsageError

ADDRESS, PORT = "MASTER_ADDR", "MASTER_PORT"
NUMBERS = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", PORT)
# Set for those that the first rank started itself.
STARTED = "COMPRESSOR_STARTED"
# Whether this process has met others.
_MET = threading.Event()
# Those of `fabric run`, which would overrule what our own options say of a device.
OF_FABRIC = "LT_"


@dataclass(frozen=True, kw_only=True)
class Place:
    """Rank ``rank`` of ``size`` processes, ``local_rank`` of ``local_size`` on this machine, and where they meet."""

    rank: int
    size: int
    local_rank: int
    local_size: int
    address: str
    port: int
    started: bool = False
    """By the first rank itself, whose end is theirs, and not by a launcher."""

    @property
    def nodes(self) -> int:
        """Machines, each with as many processes."""
        return self.size // self.local_size

    @property
    def environment(self) -> dict[str, str]:
        """The variables from which `given_place` reads it."""
        numbers = map(str, (self.rank, self.size, self.local_rank, self.local_size, self.port))
        own = {STARTED: "1"} if self.started else {}
        return {
            **own,
            ADDRESS: self.address,
            **{name: str(number) for name, number in zip(NUMBERS, numbers, strict=True)},
        }


def given_place(environment: Mapping[str, str] = os.environ) -> Place | None:
    """That of this process; None where no launcher started it, or started it alone.

    `UsageError` for variables that make no sense.
    """
    if not all(environment.get(name) for name in (*NUMBERS, ADDRESS)):
        return None
    texts = {name: environment[name] for name in NUMBERS}
    if wrong := next((name for name, text in texts.items() if not text.isdecimal()), None):
        raise UsageError(f"{wrong} in the environment must be a whole number, as of torchrun, got {texts[wrong]!r}")
    rank, size, local_rank, local_size, port = map(int, texts.values())
    if not (0 <= rank < size and 0 <= local_rank < local_size <= size):
        raise UsageError(
            f"the environment says RANK {rank} of WORLD_SIZE {size} and LOCAL_RANK {local_rank} of LOCAL_WORLD_SIZE "
            f"{local_size}, which cannot be; start the command by torchrun, or unset them"
        )
    if size % local_size:
        raise UsageError(f"{size} processes are on machines with {local_size} each; every machine needs as many")
    if size == 1:
        return None
    return Place(
        rank=rank,
        size=size,
        local_rank=local_rank,
        local_size=local_size,
        address=environment[ADDRESS],
        port=port,
        started=STARTED in environment,
    )


def note_meeting() -> None:
    """This process has met others: it has threads of torch's from now on."""
    _MET.set()


def has_met() -> bool:
    """Whether this process has met others."""
    return _MET.is_set()


def forget_fabric() -> None:
    """Leave the options of ``fabric run`` to the launcher: what a device, a precision is, our own options say."""
    for name in [name for name in os.environ if name.startswith(OF_FABRIC)]:
        del os.environ[name]
