"""Everything that can go wrong and is the user's to fix.

CompressorError         the run failed: exit code 1
├── CheckpointError     a file that cannot be read, or does not fit the network
│   └── DamagedState    a state from which no training can go on
├── DataError           samples that cannot be read, or do not fit the network
├── Diverged            a training that the same command would only repeat
├── EquivalenceError    a result that failed its own check; nothing was written
├── Occupied            a place that another process writes
├── TargetNotMet        a target that was asked for and not reached; what was reached is kept
└── UsageError          a wrong value or combination: exit code 2
    └── UnknownName     a name that no registry holds

CompressorWarning       what the Python API warns of, with Python's warnings

Anything else that escapes is a bug of ours and keeps its traceback.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

LISTED = 30


class CompressorError(Exception):
    """Base of every error that the command line shows as one line, without a traceback."""


class CheckpointError(CompressorError):
    """A file that cannot be read as a checkpoint, or does not fit the network."""


class DataError(CompressorError):
    """Samples that cannot be read, or do not fit the network."""


class DamagedState(CheckpointError):
    """What a file says is the state of a training, and is none."""


class Diverged(CompressorError):
    """A training whose loss or weights were no finite numbers, again and again."""


class EquivalenceError(CompressorError):
    """A result that failed its own check, so it was not written."""


class Occupied(CompressorError):
    """A file or folder that another process writes."""


# The old name, for one release.
ProofError = EquivalenceError


class TargetNotMet(CompressorError):
    """A target that was asked for and not reached; what was reached is kept."""


class CompressorWarning(UserWarning):
    """What the Python API warns of where a command prints a line: nothing failed, but it is not what was meant."""


class UsageError(CompressorError, ValueError):
    """A value or a combination of options that cannot be right."""


class UnknownName(UsageError):
    """A name was asked for that the registry does not hold."""

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        choices = sorted(known)
        near = get_close_matches(name, choices, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        # A list that fills the screen helps nobody.
        shown = ", ".join(choices) if len(choices) <= LISTED else f"{len(choices)} names, from {choices[0]} on"
        super().__init__(f"no {kind} is called {name!r}.{hint} Known: {shown}.")
        self.kind, self.name = kind, name


def warning_text(message: Warning | str, category: type[Warning]) -> str:
    """One line of a Python warning: our own as it is, another's with its kind before it."""
    text = " ".join(str(message).split())
    return text if issubclass(category, CompressorWarning) else f"{category.__name__}: {text}"


def first_line(error: BaseException) -> str:
    """What an exception of another library says, as one line of bearable length; its kind when it says nothing."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
