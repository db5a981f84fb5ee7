"""Read what ``torch.save`` wrote, whatever else is in it, without importing or calling anything that it names.

Torch's own reader for weights (``weights_only=True``) reads every byte: it knows tensors, containers and numbers, and
stops at the name of anything else. Trainers put such things beside the tensors (``argparse.Namespace``, paths, NumPy's
numbers). So a file that stops it is read again with stand-ins: each name that is not torch's becomes an empty class of
this module, which takes any arguments and keeps none. Torch looks the name up in a table of ours, hence never imports
it; what would have been made of it is an empty object, or a plain dictionary or list where the file goes on to fill
it. Names in modules that torch blocks (``os``, ``sys``) have no stand-in: who names them means no data.

A stand-in is no tensor, so tensors that need one are not read: torch refuses to rebuild them.
"""

from __future__ import annotations

import errno
import pickle
import re
import warnings
import zipfile
from pathlib import Path
from typing import Any

import torch

from compressor.errors import CheckpointError, first_line
from compressor.limits import check_memory
from compressor.process_memory import bounded

# More kinds of objects than trainers put beside their tensors.
STAND_INS = 64


class Skipped:
    """Stands where the file has an object of a class that is not read: it takes everything and keeps nothing."""

    __slots__ = ()

    def __new__(cls, *args: object, **kwargs: object) -> Any:
        """An empty object, whatever it would have been made of."""
        return super().__new__(cls)

    def __init__(self, *args: object, **kwargs: object) -> None:
        """Nothing is kept."""

    def __setstate__(self, state: object) -> None:
        """Nothing is kept."""


class SkippedDict(Skipped):
    """Stands for a class of dictionaries."""

    def __new__(cls, *args: object, **kwargs: object) -> Any:
        """A plain dictionary, which the file goes on to fill."""
        return {}


class SkippedList(Skipped):
    """Stands for a class of lists."""

    def __new__(cls, *args: object, **kwargs: object) -> Any:
        """A plain list, which the file goes on to fill."""
        return []


StandIns = dict[str, type[Skipped]]


def read_pickled(path: Path) -> tuple[Any, list[str]]:
    """What is in ``path``, and the names of the classes whose objects are left out, sorted.

    `CheckpointError` for a file that is damaged, unpacks to more than is allowed, or cannot be read without a class.
    """
    _check_unpacked(path)
    stand_ins: StandIns = {}
    try:
        # What torch's reader may build beside tensors (long strings of bytes, for one) is told nowhere before.
        with bounded(path.stat().st_size):
            while len(stand_ins) <= STAND_INS and (more := _needed(path, stand_ins)):
                stand_ins |= more
            return _loaded(path, stand_ins, "cpu"), sorted(stand_ins)
    except Exception as error:  # torch raises many kinds on damaged files
        raise _told(path, error, stand_ins) from error


def _needed(path: Path, stand_ins: StandIns) -> StandIns:
    """The stand-in at whose lack a trial without the tensors' data stops; nothing where it does not."""
    try:
        _loaded(path, stand_ins, "meta")
    except pickle.UnpicklingError as error:
        if unknown := re.search(r"Unsupported global: GLOBAL (\S+) was not", str(error)):
            name = unknown[1] if "." in unknown[1] else f"builtins.{unknown[1]}"
            return {} if name in stand_ins else {name: _stand_in(name, Skipped)}
        if filled := re.search(r"Can only (SETITEM|append|extend).* but got <class '(.+)'>", str(error)):
            name, kind = filled[2].removeprefix(f"{__name__}."), SkippedDict if filled[1] == "SETITEM" else SkippedList
            if name in stand_ins and not issubclass(stand_ins[name], kind):
                return {name: _stand_in(name, kind)}
    except Exception:  # what else is wrong is told when the tensors are read
        pass
    return {}


def _stand_in(name: str, kind: type[Skipped]) -> type[Skipped]:
    return type(name, (kind,), {"__slots__": (), "__module__": __name__})


def _loaded(path: Path, stand_ins: StandIns, device: str) -> Any:
    known: list[Any] = [(stand_in, name) for name, stand_in in stand_ins.items()]
    # What torch warns of here (an unusual pickle protocol) it also refuses, or reads well.
    with warnings.catch_warnings(action="ignore"), torch.serialization.safe_globals(known):
        return torch.load(path, map_location=device, weights_only=True)


def _told(path: Path, error: Exception, stand_ins: StandIns) -> CheckpointError:
    # It seeks before the beginning of a file that was cut short, which is an invalid argument.
    if isinstance(error, OSError) and error.errno != errno.EINVAL:
        return CheckpointError(f"{path} cannot be read: {error.strerror or first_line(error)}")
    if _is_of_memory(error) or isinstance(error, RecursionError):
        kind = "asks for more memory than --max-memory allows" if _is_of_memory(error) else "is nested too deeply"
        return CheckpointError(f"{path} cannot be read: it {kind}")
    blocked = re.search(r"GLOBAL (\S+)", str(error)) if isinstance(error, pickle.UnpicklingError) else None
    if blocked or stand_ins:
        return needs_code(path, blocked[1].rstrip(".") if blocked else next(iter(stand_ins)))
    # Torch's own words here are internal, or advise to load without the safeguard.
    return CheckpointError(
        f"{path} is not a complete PyTorch checkpoint: it is cut short, damaged or a file of another kind"
    )


def _is_of_memory(error: Exception) -> bool:
    """Whether an allocation failed: torch's own allocator has no error of its own for it."""
    return isinstance(error, MemoryError) or "can't allocate memory" in str(error)


def needs_code(path: Path, name: str) -> CheckpointError:
    """The error for a file whose tensors cannot be had without running what it names."""
    return CheckpointError(
        f"{path} is refused: it holds more than tensors, and loading it would run code it names "
        f"({name}); save the tensors alone, with torch.save(model.state_dict(), ...)"
    )


def _check_unpacked(path: Path) -> None:
    """Torch packs nothing, but reads what others packed: a small file must not become a large one."""
    try:
        with zipfile.ZipFile(path) as file:
            unpacked = sum(entry.file_size for entry in file.infolist())
    except Exception:  # no zip, or one that torch's reader tells about
        return
    check_memory(unpacked, f"{path} unpacked", held=path.stat().st_size, kind=CheckpointError)
