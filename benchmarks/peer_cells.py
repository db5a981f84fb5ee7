"""What the comparison with other tools keeps: one file a cell, and all cells of a network in one file."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from compressor.codec import decode, encode
from compressor.files import write_bytes, write_text
from compressor.records import Interval, Record
from compressor.regular_files import read_bytes

NETWORKS = "networks.json"


class Subject(Record, frozen=True, kw_only=True):
    """A trained network, its data, and how every method trains it.

    ``held`` are patterns (`fnmatch`) of the layers whose channels another tool can remove rightly; all when empty.
    """

    checkpoint: str
    data: str
    held: tuple[str, ...] = ()
    max_train: int | None = None
    epochs: int = 6
    batch_size: int = 64
    lr: float = 0.02
    precision: str = "32"


class Accuracy(Record, frozen=True, kw_only=True):
    """Shares of the test samples: of the dense network; when its channels are removed at once and nothing is trained;
    at the end of sparse training; when the channels are removed then; in the end. Then that of the validation part.

    None where a method has no such step.
    """

    dense: float
    untrained: float | None
    sparse: float | None
    removed: float | None
    final: float
    validation: float


class Seconds(Record, frozen=True, kw_only=True):
    """Time of all training loops, and of what a method needs to choose channels."""

    wall: float = 0.0
    processor: float = 0.0

    def __add__(self, other: Seconds) -> Seconds:
        return Seconds(wall=self.wall + other.wall, processor=self.processor + other.processor)


@contextmanager
def stopwatch() -> Iterator[list[Seconds]]:
    """Yield a list that holds the time of the block in the end."""
    taken: list[Seconds] = []
    wall, processor = time.monotonic(), time.process_time()
    yield taken
    taken.append(Seconds(wall=time.monotonic() - wall, processor=time.process_time() - processor))


class Latency(Record, frozen=True, kw_only=True):
    """Latency relative to the dense network, in ONNX Runtime, with its 95 % interval."""

    ratio: float
    ci95: Interval


class Key(Record, frozen=True, kw_only=True, order=True):
    """What a cell is a result of: ``target`` 3 asks for a third of the dense network's MACs."""

    network: str
    method: str
    setting: str
    target: float
    seed: int

    def path(self, results: Path, ending: str) -> Path:
        """Where a file of this cell lies."""
        return results / self.network / f"{self.method}@{self.setting}" / f"{self.target:g}x-{self.seed}{ending}"


class Cell(Record, frozen=True, kw_only=True):
    """One trained, removed and recovered network; MACs and parameters are (dense, small)."""

    key: Key
    accuracy: Accuracy
    samples: int
    macs: tuple[int, int]
    parameters: tuple[int, int]
    seconds: Seconds
    latency: Latency | None = None
    settings: Mapping[str, Any]
    versions: Mapping[str, str]

    @property
    def kept(self) -> float:
        """The share of the MACs that is left."""
        return self.macs[1] / self.macs[0]


class Pack(Record, frozen=True, kw_only=True):
    """All cells of one network."""

    cells: tuple[Cell, ...]


Cells = dict[Key, Cell]


def read_cells(*folders: Path) -> Cells:
    """All cells in these folders, which hold one file a cell or a network; later folders overrule earlier ones."""
    cells: Cells = {}
    for folder in folders:
        for path in sorted(folder.glob("*.json")):
            if path.name != NETWORKS:
                cells |= {cell.key: cell for cell in decode(read_bytes(path), Pack, str(path)).cells}
        for path in sorted(folder.glob("*/*@*/*x-*.json")):
            cell = decode(read_bytes(path), Cell, str(path))
            cells[cell.key] = cell
    return cells


def write_cell(results: Path, cell: Cell) -> None:
    """Write the cell whole."""
    path = cell.key.path(results, ".json")
    path.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(path, encode(cell))


def write_packs(folder: Path, cells: Iterable[Cell]) -> None:
    """Write all cells, a line each, into one file a network."""
    folder.mkdir(parents=True, exist_ok=True)
    networks: dict[str, list[Cell]] = {}
    for cell in sorted(cells, key=lambda cell: cell.key):
        networks.setdefault(cell.key.network, []).append(cell)
    for name, group in networks.items():
        lines = ",\n".join(msgspec.json.encode(cell).decode() for cell in group)
        write_text(folder / f"{name}.json", f'{{"cells": [\n{lines}\n]}}\n')


def read_subjects(results: Path) -> dict[str, Subject]:
    """The networks by name that were added to the folder."""
    path = results / NETWORKS
    return decode(read_bytes(path), dict[str, Subject], str(path)) if path.exists() else {}


def write_subjects(results: Path, subjects: Mapping[str, Subject]) -> None:
    """Write the networks whole."""
    results.mkdir(parents=True, exist_ok=True)
    write_bytes(results / NETWORKS, encode(subjects))


def best_setting(cells: Iterable[Cell], network: str, method: str) -> str | None:
    """The setting of a method that is best on the validation part with seed 0, on the targets that all of them have.

    The first run of equal ones; None where the method has no cell.
    """
    scores: dict[str, dict[float, float]] = {}
    for cell in cells:
        key = cell.key
        if (key.network, key.method, key.seed) == (network, method, 0):
            scores.setdefault(key.setting, {})[key.target] = cell.accuracy.validation
    if not scores:
        return None
    shared = set.intersection(*(set(by_target) for by_target in scores.values()))
    if not shared:
        return max(scores, key=lambda setting: len(scores[setting]))
    return max(scores, key=lambda setting: sum(scores[setting][target] for target in shared))


def chosen(cells: Iterable[Cell]) -> list[Cell]:
    """The cells of each method's best setting on each network."""
    every = list(cells)
    pairs = {(cell.key.network, cell.key.method) for cell in every}
    best = {pair: best_setting(every, *pair) for pair in pairs}
    return [cell for cell in every if cell.key.setting == best[cell.key.network, cell.key.method]]
