"""Images in tar files as the library `webdataset` writes them, read in any order: docs/decisions/0041."""

from __future__ import annotations

import json
import re
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from compressor.data.encoded import Names
from compressor.data.folder import SUFFIXES
from compressor.data.named_parts import by_part
from compressor.data.reader import Parts, Shape
from compressor.data.streaming import Labelled, image_parts
from compressor.errors import DataError
from compressor.foreign import parsing
from compressor.limits import check_memory
from compressor.regular_files import open_regular

RANGE = re.compile(r"\{(\d+)\.\.(\d+)\}")
# Bytes of an entry that says the class, and of what is known of an image while the entries are gone through.
MOST_LABEL, LONGEST_NAME, SAMPLE_MEMORY = 2**16, 200, 512
MOST_SHARDS = 1_000_000


class WebDataset:
    """Images with their classes (cls, or label in json) in uncompressed tar files; no other entry is read."""

    form = "webdataset:DIR or webdataset:NAME-{000..099}.tar,..."

    def read(self, place: str, shape: Shape | None) -> Parts:
        """Shards whose names begin with train, val and test are these parts; else samples are drawn.

        The headers of all entries are gone through once. Raises `DataError` for what is no tar file of such samples.
        """
        shards = expanded(place)
        if not shards:
            raise DataError(f"{place} has no tar files")
        root = shards[0].parent
        root = root if all(shard.parent == root for shard in shards) else Path(shards[0].anchor)
        parts = {part: find(paths) for part, paths in by_part(shards, root, place).items()}
        classes = _classes(parts["train"].classes, place)
        labelled = {part: found.labelled(classes, place) for part, found in parts.items()}
        return image_parts(place, labelled["train"], labelled.get("val"), labelled.get("test"),
                           classes=classes, shape=shape)  # fmt: skip


def expanded(place: str) -> list[Path]:
    """The tar files that ``place`` names: those of a folder, or of patterns with ranges such as {000..099}."""
    found: list[Path] = []
    for pattern in place.split(","):
        path = Path(pattern).expanduser()
        found += sorted(path.glob("*.tar")) if path.is_dir() else [Path(text).expanduser() for text in _each(pattern)]
    return found


def _each(pattern: str) -> Iterator[str]:
    texts = RANGE.split(pattern)
    ranges = []
    for first, last in zip(texts[1::3], texts[2::3], strict=True):
        if int(last) - int(first) >= MOST_SHARDS:
            raise DataError(f"{{{first}..{last}}} is more than {MOST_SHARDS:,} files")
        ranges.append([f"{number:0{len(first)}}" for number in range(int(first), int(last) + 1)])
    for numbers in product(*ranges):
        yield texts[0] + "".join(number + text for number, text in zip(numbers, texts[3::3], strict=True))


@dataclass(frozen=True)
class ShardedFiles:
    """Images by the shard that each lies in, where it begins there, and its bytes: int64 (images, 3)."""

    shards: tuple[Path, ...]
    names: Names
    entries: NDArray[np.int64]

    def where(self, number: int) -> Path:
        """As if the shard were a folder."""
        return self.shards[int(self.entries[number, 0])] / self.names[number]

    def size(self, number: int) -> int:
        """As its header says."""
        return int(self.entries[number, 2])

    def read(self, number: int) -> bytes:
        """Of the tar file these bytes alone."""
        shard, begin, size = map(int, self.entries[number])
        with open_regular(self.shards[shard], kind=DataError) as file:
            file.seek(begin)
            return file.read(size)

    def mark(self, number: int) -> bytes:
        """Shard, name and size."""
        shard = self.shards[int(self.entries[number, 0])].name.encode(errors="surrogateescape")
        return b"%b/%b %d\n" % (shard, self.names.encoded(number), self.size(number))


class _Image(NamedTuple):
    name: str
    begin: int
    size: int


@dataclass(frozen=True)
class Found:
    """The images of a part, and what says the class of each."""

    files: ShardedFiles
    classes: list[str]

    def labelled(self, classes: tuple[str, ...], place: str) -> Labelled:
        """With the place of each class among ``classes``; `DataError` where it is none of them."""
        place_of = {name: number for number, name in enumerate(classes)}
        if strange := set(self.classes) - place_of.keys():
            raise DataError(f"{place} has a class that the training part lacks: {min(strange)}")
        return Labelled(self.files, torch.tensor([place_of[name] for name in self.classes]))


def find(shards: list[Path]) -> Found:
    """Go through the headers of the ``shards``; `DataError` where they hold no images with classes."""
    names, entries, classes = list[str](), list[tuple[int, int, int]](), list[str]()
    for number, shard in enumerate(shards):
        for image, label in _samples(shard):
            names.append(image.name)
            entries.append((number, image.begin, image.size))
            classes.append(label)
            check_memory(len(names) * SAMPLE_MEMORY, f"{shard}: {len(names)} samples", kind=DataError)
    if not names:
        raise DataError(f"{shards[0]} holds no image ({', '.join(SUFFIXES)}) with its class (.cls or .json)")
    return Found(ShardedFiles(tuple(shards), Names(names), np.array(entries, np.int64)), classes)


def _classes(found: list[str], place: str) -> tuple[str, ...]:
    """Numbers count the outputs of a network; names are sorted."""
    if not all(name.isdecimal() for name in found):
        return tuple(sorted(set(found)))
    count = max(map(int, found)) + 1
    check_memory(count * SAMPLE_MEMORY, f"{place}: {count} classes", kind=DataError)
    return tuple(map(str, range(count)))


def _samples(shard: Path) -> Iterator[tuple[_Image, str]]:
    """Images with their classes: entries with one name before its first dot, one after the other."""
    with (
        open_regular(shard, kind=DataError) as file,
        parsing(f"{shard}, as an uncompressed tar file,", DataError),
        tarfile.open(fileobj=file, mode="r:") as archive,
    ):
        key, image, label = "", None, None
        while (entry := archive.next()) is not None:
            archive.members.clear()  # type: ignore[attr-defined]  # it would keep a description of every entry
            folder, _, name = entry.name.rpartition("/")
            stem, _, suffix = name.partition(".")
            if (own := f"{folder}/{stem}") != key:
                yield from _whole(image, label)
                key, image, label = own, None, None
            if not entry.isreg() or entry.issparse() or not stem:
                continue
            if f".{suffix.lower()}" in SUFFIXES:
                image = _Image(entry.name, entry.offset_data, entry.size)
            elif suffix in LABELS:
                if entry.size > MOST_LABEL:
                    raise ValueError(f"{entry.name} has {entry.size} bytes, more than any class")
                file.seek(entry.offset_data)
                label = LABELS[suffix](file.read(entry.size)) or label
        yield from _whole(image, label)


def _whole(image: _Image | None, label: str | None) -> Iterator[tuple[_Image, str]]:
    """What there is of a sample, if anything; ValueError for an image without a class."""
    if image is not None:
        if label is None:
            raise ValueError(f"{image.name} has no class beside it, .cls or .json with a label")
        yield image, label


def _of_text(content: bytes) -> str:
    text = content.decode().strip()
    if len(text) > LONGEST_NAME:
        raise ValueError(f"a class has {len(text)} letters, more than any name")
    return (text.lstrip("0") or "0") if text.isdecimal() else text


def _of_json(content: bytes) -> str:
    """Empty where it says none."""
    said = json.loads(content)
    return _of_text(str(said["label"]).encode()) if isinstance(said, dict) and "label" in said else ""


LABELS = {"cls": _of_text, "json": _of_json}
