"""Where samples come from: one data set a file; a new one is a file and a line in `DATASETS`."""

from __future__ import annotations

from compressor.data.reader import Reader, Shape
from compressor.data.samples import DataSet
from compressor.data.split import split, subset
from compressor.data.streaming import decoded_by
from compressor.errors import DataError, UsageError
from compressor.registry import resolve

__all__ = ["DATASETS", "load_data"]

DATASETS = {
    "curves": "compressor.data.curves:Curves",
    "digits": "compressor.data.digits:Digits",
    "folder": "compressor.data.folder:Folder",
    "hf": "compressor.data.hugging_face:HuggingFace",
    "mnist": "compressor.data.mnist:Mnist",
    "npz": "compressor.data.npz:Npz",
    "webdataset": "compressor.data.shards:WebDataset",
}


def load_data(
    ref: str,
    input_shape: Shape | None = None,
    *,
    val_fraction: float = 0.1,
    split_seed: int = 0,
    max_train: int | None = None,
    workers: int | None = None,
) -> DataSet:
    """Read the data set ``ref`` (``name`` or ``name:PLACE``) into memory, split into train, val and test.

    Image files that are more than may be in memory stay on the disk, and are decoded for every batch anew, by so many
    ``workers``, processes, or by this one where they are 0; by default one for each processor, 8 at most.

    ``input_shape`` is the network's (channels, height, width); None keeps the native shape of the data.
    A test part of the data's own is kept as it is; otherwise it is 20 % of every class, drawn with
    ``split_seed`` alone. ``val_fraction`` of the rest becomes the validation part, unless the data bring one.
    ``max_train`` keeps at most so many training samples, in the proportions of the classes.

    Raises `UnknownName` or `UsageError` for a wrong argument, `DataError` for samples that cannot be used.
    """
    _check(input_shape, val_fraction, split_seed, max_train)
    if workers is not None and workers < 0:
        raise UsageError(f"number of processes that decode must be 0 or more, got {workers}")
    reader, place = _reader(ref)
    parts = reader.read(place, input_shape)
    _check_names(ref, parts.classes)
    train, val, test = split(parts, val_fraction=val_fraction, seed=split_seed)
    if not len(train) or not len(test):
        raise DataError(f"{ref} has too few samples to split: {len(train)} to train and {len(test)} to test remain")
    if max_train is not None:
        train = subset(train, max_train, seed=split_seed)
    if workers is not None:
        train, val, test = (decoded_by(part, workers) for part in (train, val, test))
    return DataSet(
        ref=ref,
        train=train,
        val=val,
        test=test,
        classes=parts.classes,
        normalization=parts.normalization,
        augmentation=parts.augmentation,
        split_seed=split_seed,
        val_fraction=val_fraction,
        resize=parts.resize,
    )


def _reader(ref: str) -> tuple[Reader, str]:
    name, colon, place = ref.partition(":")
    reader: Reader = resolve("data set", DATASETS, name)()
    needs_place = ":" in reader.form
    if needs_place and not place:
        raise UsageError(f"data set {ref!r} does not say where its files are: write {reader.form}")
    if colon and not needs_place:
        raise UsageError(f"data set {name!r} takes nothing after its name, got {ref!r}: write {reader.form}")
    return reader, place


def _check_names(ref: str, classes: tuple[str, ...]) -> None:
    """Folders and arrays can have names that no text file can hold."""
    for name in classes:
        try:
            name.encode()
        except UnicodeEncodeError:
            raise DataError(f"{ref} has a class whose name is no valid text: {name!a}") from None


def _check(shape: Shape | None, val_fraction: float, split_seed: int, max_train: int | None) -> None:
    if shape is not None and (len(shape) != 3 or min(shape) < 1):
        raise UsageError(f"input shape must be channels, height and width, each at least 1, got {shape}")
    if not 0 <= val_fraction <= 0.5:
        raise UsageError(f"validation fraction must be between 0 and 0.5, got {val_fraction}")
    if split_seed < 0:
        raise UsageError(f"split seed must be 0 or more, got {split_seed}")
    if max_train is not None and max_train < 1:
        raise UsageError(f"number of training samples must be at least 1, got {max_train}")
