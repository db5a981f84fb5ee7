"""Which part a file or folder belongs to, by the first word of its name: train-00000.parquet, test_3.tar."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from compressor.errors import DataError

WORDS = {"train": "train", "val": "val", "valid": "val", "validation": "val", "dev": "val", "test": "test"}


def by_part(paths: Iterable[Path], root: Path, place: str) -> dict[str, list[Path]]:
    """The ``paths`` in ``root`` by part: all of train where no name says one.

    Raises `DataError` where some do and others do not, or none is for training.
    """
    found: dict[str | None, list[Path]] = {}
    for path in sorted(paths):
        found.setdefault(_part(path.relative_to(root)), []).append(path)
    if found.keys() == {None}:
        return {"train": found[None]}
    if None in found or "train" not in found:
        odd = found[None][0] if None in found else next(iter(found.values()))[0]
        raise DataError(
            f"{place} has {odd.name}, but names must say the part, train, and may have validation and test "
            "(train-000, for example); or none of them says one"
        )
    return {part: inner for part, inner in found.items() if part is not None}


def _part(path: Path) -> str | None:
    words = (re.split(r"[^a-z]", name.lower(), maxsplit=1)[0] for name in reversed(path.parts))
    return next((WORDS[word] for word in words if word in WORDS), None)
