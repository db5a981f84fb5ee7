"""A data set of the library `datasets` on this disk: nothing is downloaded, and no code of the folder is run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from compressor.codec import decode
from compressor.data.encoded import Encoded
from compressor.data.named_parts import by_part
from compressor.data.reader import Parts, Shape
from compressor.data.streaming import Labelled, image_parts
from compressor.errors import DataError, UsageError
from compressor.foreign import parsing
from compressor.regular_files import read_bytes

STATE, PARQUET = "state.json", "*.parquet"


class HuggingFace:
    """Images with labels that `datasets` wrote: save_to_disk, or parquet files; splits by name."""

    form = "hf:FOLDER"

    def read(self, place: str, shape: Shape | None) -> Parts:
        """Splits called train, validation and test are taken as they are, others are drawn.

        Raises `UsageError` without the library, `DataError` for what is no data set of images with a label each.
        """
        root = Path(place).expanduser()
        if not root.is_dir():
            raise DataError(f"there is no folder {place}")
        sets = {part: _loaded(paths, place) for part, paths in by_part(_found(root), root, place).items()}
        image, label = _columns(sets["train"].features, place)
        names = _names(sets["train"], label, place)
        parts = {part: _labelled(rows, image, label, names, f"{place} {part}") for part, rows in sets.items()}
        return image_parts(
            place, parts["train"], parts.get("val"), parts.get("test"), classes=tuple(names), shape=shape
        )


@dataclass(frozen=True)
class Rows:
    """Images in a column of a table that is mapped into memory, not read."""

    table: Any
    column: str
    place: str

    def where(self, number: int) -> str:
        """Its row."""
        return f"{self.place}, row {number}"

    def size(self, number: int) -> int:
        """It is in memory already, as far as the system counts it."""
        return len(self.read(number))

    def read(self, number: int) -> bytes:
        """A path in the place of bytes is followed nowhere."""
        content = self.table[number][self.column]["bytes"]
        if content is None:
            raise ValueError("its bytes are not in the table; save it again with save_to_disk or to_parquet")
        return bytes(content)

    def mark(self, number: int) -> bytes:
        """Rows have no names."""
        return b"%d\n" % number


def _found(root: Path) -> list[Path]:
    """Folders that save_to_disk wrote, else parquet files."""
    folders = [root] if (root / STATE).exists() else [file.parent for file in root.glob(f"*/{STATE}")]
    files = folders or [file for file in root.rglob(PARQUET) if file.is_file()]
    if not files:
        raise DataError(f"{root} holds neither what save_to_disk of Hugging Face's datasets writes nor parquet files")
    return files


def _loaded(paths: Sequence[Path], place: str) -> Any:
    library = _library()
    for path in paths:
        _check_files(path)
    with parsing(f"{place}, as a data set of Hugging Face,", DataError), _quiet(library):
        if paths[0].is_dir():
            return library.concatenate_datasets([library.Dataset.load_from_disk(str(path)) for path in paths])
        return library.Dataset.from_parquet([str(path) for path in paths])


def _check_files(path: Path) -> None:
    """Raise `DataError` where the description of a folder names files elsewhere."""
    if not path.is_dir():
        return
    state = decode(read_bytes(path / STATE, kind=DataError), dict[str, Any], str(path / STATE))
    for file in state.get("_data_files") or ():
        name = file.get("filename") if isinstance(file, dict) else None
        if not isinstance(name, str) or Path(name).name != name:
            raise DataError(f"{path / STATE} names the file {name!r}, which is not in its folder")


def _columns(features: Any, place: str) -> tuple[str, str]:
    library = _library()
    images = [name for name, kind in features.items() if isinstance(kind, library.Image)]
    labels = [name for name, kind in features.items() if isinstance(kind, library.ClassLabel)]
    if not labels:
        labels = [name for name in ("label", "labels", "class") if name in features]
    if len(images) != 1 or (len(labels) != 1 and "label" not in labels):
        raise DataError(
            f"{place} has the columns {', '.join(features)}; one of images and one of labels are needed: "
            "remove others with remove_columns"
        )
    return images[0], labels[0] if len(labels) == 1 else "label"


def _names(table: Any, label: str, place: str) -> list[str]:
    kind = table.features[label]
    if isinstance(kind, _library().ClassLabel):
        return list(kind.names)
    return [str(value) for value in sorted(set(_values(table, label, place)))]


def _values(table: Any, label: str, place: str) -> list[Any]:
    values = table.with_format(None)[label][:]
    if not values or not all(type(value) is type(values[0]) and isinstance(value, int | str) for value in values):
        raise DataError(f"{place} has the column {label}, which holds no class for each image: texts or whole numbers")
    return list(values)


def _labelled(table: Any, image: str, label: str, names: list[str], place: str) -> Labelled:
    if image not in table.features or label not in table.features:
        raise DataError(f"{place} lacks the column {image} or {label}, which the training part has")
    kind = table.features[label]
    if isinstance(kind, _library().ClassLabel):
        if list(kind.names) != names:
            raise DataError(f"{place} has other classes than the training part")
        labels = np.array(_values(table, label, place))
        if labels.min() < 0 or labels.max() >= len(names):
            raise DataError(f"{place} has the label {labels.min()}; its classes are 0 to {len(names) - 1}")
    else:
        place_of = {name: number for number, name in enumerate(names)}
        values = [str(value) for value in _values(table, label, place)]
        if strange := set(values) - place_of.keys():
            raise DataError(f"{place} has a class that the training part lacks: {min(strange)}")
        labels = np.array([place_of[value] for value in values])
    encoded = table.select_columns([image]).cast_column(image, _library().Image(decode=False)).with_format(None)
    files: Encoded = Rows(encoded, image, place)
    return Labelled(files, torch.from_numpy(labels.astype(np.int64)))


def _library() -> Any:
    try:
        import datasets
    except ImportError as error:
        raise UsageError(
            f"hf: needs the library datasets, which cannot be imported ({error}); "
            "pip install 'torch-compressor[datasets]'"
        ) from error
    return datasets


@contextmanager
def _quiet(library: Any) -> Iterator[None]:
    """Without the library's own lines of progress."""
    before = library.are_progress_bars_disabled()
    library.disable_progress_bars()
    try:
        yield
    finally:
        if not before:
            library.enable_progress_bars()
