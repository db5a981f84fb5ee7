"""From options to a network and its samples, with the warnings that a user should see."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from compressor.cli.console import Console
from compressor.cli.examples import example_of
from compressor.cli.own_batches import for_task, own_batches
from compressor.cli.parsing import parse_arguments
from compressor.errors import CompressorWarning, DataError, UsageError
from compressor.regular_files import read_bytes

if TYPE_CHECKING:
    from compressor.checkpoints import DataChoice, Network
    from compressor.data.feeds import Data
    from compressor.data.samples import DataSet

CLASS_NAME_EXPANSION = 100  # of a file of class names read into memory: a name of one letter is an object


def load_network(model: str | None, options: dict[str, Any], *, seed: int = 0) -> Network:
    """The network that ``model`` and the model options name; random weights when there is no ``model``."""
    from compressor.checkpoints import fresh, load

    known: dict[str, Any] = {
        "arch_args": parse_arguments(options["arch_args"], "--arch-arg"),
        "input_shape": options["input_shape"],
        "example": example_of(options["inputs"], options["examples"]),
        "outputs": options["outputs"] or None,
        "normalize": options["normalize"],
        "classes": _class_names(options["classes"]),
    }
    if model is None:
        if options["arch"] is None:
            raise UsageError("give a MODEL (a file, or a name from compress list models), or --arch for random weights")
        return fresh(options["arch"], seed=seed, **known)
    _refuse_architecture(model)
    with _warnings_shown():
        return load(
            model, arch=options["arch"], trust_arch=options["trust_arch"], state_key=options["state_key"], **known
        )


@contextmanager
def _warnings_shown() -> Iterator[None]:
    """Show what the library warns of as the command's own warnings."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", CompressorWarning)
        yield
    for warning in caught:
        if issubclass(warning.category, CompressorWarning):
            click.get_current_context().obj.warn(str(warning.message))
        else:
            warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)


def _refuse_architecture(model: str) -> None:
    """Raise `UsageError` with the right option when ``model`` names an architecture, which has no weights."""
    from compressor.architectures import ARCHITECTURES
    from compressor.checkpoints import embedded
    from compressor.sources import SOURCES

    source, colon, _ = model.partition(":")
    named = (colon and source in SOURCES) or (model in ARCHITECTURES and model not in embedded())
    if named and not Path(model).exists():
        raise UsageError(
            f"{model} is an architecture and MODEL a file with weights; pass --arch {model} "
            "(inspect and fine-tune take random weights when MODEL is left out)"
        )


def load_known_samples(console: Console, network: Network, options: dict[str, Any]) -> tuple[Network, Data | None]:
    """The network with its normalisation, and the data to compare outputs on; None where no data are known.

    The files that the checkpoint names may lie on another machine: then a warning says that they are left out.
    """
    known = network.metadata
    if (own := own_batches(options, needs_task=False)) is not None:
        return network, own
    if options["data"] is None and known.data is None:
        return network, None
    reason = None
    if options["data"] is None and known.data is not None:
        ref = known.data.ref
        if _reaches_out(ref, network.source):
            reason = f"{ref} lies outside the folder of {network.source}; pass --data {ref} to read it"
        elif not _is_here(ref):
            reason = f"{ref} is not on this machine; pass --data"
    if reason is not None:
        console.warn(f"outputs are compared on random inputs only, because {reason}")
        return network, None
    data = read_samples(console, known.data, known.input_shape, known.classes, options, network.source)
    return _normalised(console, network, data), data


def _is_here(ref: str) -> bool:
    """Whether the files of a data set are on this machine; those without files always are."""
    return all(path.exists() for path in _places(ref))


def _places(ref: str) -> list[Path]:
    """The files or folders that a data set names."""
    from compressor.data.shards import expanded

    name, colon, place = ref.partition(":")
    if name == "webdataset":
        return expanded(place) or [Path(place).expanduser()]
    return [Path(place).expanduser()] if colon else []


def _reaches_out(ref: str, source: Path | None) -> bool:
    """Whether ``ref``, which the file ``source`` names, lies elsewhere than in its folder, links followed.

    A file from somebody else could name any place of this machine. Places are relative to the current folder.
    """
    if source is None:
        return False
    try:
        return not all(path.resolve().is_relative_to(source.resolve().parent) for path in _places(ref))
    except (OSError, ValueError, RuntimeError):  # no path, or links in a ring
        return True


def load_samples(
    console: Console, network: Network, options: dict[str, Any], *, needs_task: bool = True
) -> tuple[Network, Data]:
    """The data set or the user's own batches, and the network with the normalisation that its inputs get."""
    known = network.metadata
    if (own := own_batches(options, needs_task=needs_task)) is not None:
        return network, own
    data = read_samples(console, known.data, known.input_shape, known.classes, options, network.source)
    if options["classes"] is None and known.classes is not None:
        # What the network is trained on from now on names its classes, unless the user does.
        network = replace(network, metadata=replace(known, classes=data.classes))
    return _normalised(console, network, data), data


def read_samples(
    console: Console,
    known: DataChoice | None,
    shape: Sequence[int] | None,
    classes: Sequence[str] | None,
    options: dict[str, Any],
    source: Path | None,
) -> DataSet:
    """The data that the options name, else those that the network knows, split as they were for its training.

    ``source`` is the file that knows them: without the user's word it is followed only into its own folder.
    """
    from compressor.data import load_data
    from compressor.data.augmentations import augmented
    from compressor.data.samples import in_order_of

    ref = options["data"] or (known.ref if known is not None else None)
    if ref is None:
        raise UsageError("the checkpoint does not name its data; pass --data, for example --data folder:photos")
    if options["data"] is None and _reaches_out(ref, source):
        raise UsageError(f"{source} names data outside its folder, {ref}; pass --data {ref} to read them")
    _refuse_place(ref)
    own = known if known is not None and known.ref == ref else None
    choice: dict[str, Any] = {"val_fraction": own.val_fraction, "split_seed": own.split_seed} if own else {}
    choice |= {key: options[key] for key in ("val_fraction", "split_seed", "max_train") if options[key] is not None}
    data = load_data(ref, _image_shape(shape), **choice, workers=options["data_workers"])
    if data.streamed:
        console.note(f"{ref} exceeds --max-memory: its images stay on the disk and are decoded for every batch anew")
    data = in_order_of(data, classes)
    if classes is not None and data.classes != tuple(classes):
        console.warn(
            f"the network's classes ({_few(classes)}) are not those of {ref} ({_few(data.classes)}); "
            "the labels of the data are taken as positions in the network's output"
        )
    if own is not None and data.split_seed != own.split_seed:
        console.warn(f"the network was trained with --split-seed {own.split_seed}, so it may have seen test samples")
    data = for_task(data, options)
    return data if options.get("augment") is None else augmented(data, options["augment"])


def _refuse_place(ref: str) -> None:
    """Raise `UsageError` with the right form when ``ref`` is a folder, .zip or .npz and no data set."""
    from compressor.data import DATASETS

    place = Path(ref)
    if ref.partition(":")[0] not in DATASETS and (place.is_dir() or place.suffix in {".zip", ".npz"}):
        kind = "npz" if place.suffix == ".npz" else "folder"
        raise UsageError(f"--data {ref} does not say what kind of data is there; write --data {kind}:{ref}")


def _few(names: Sequence[str]) -> str:
    shown = ", ".join(names[:3])
    return shown if len(names) <= 3 else f"{shown} and {len(names) - 3} more"


def _image_shape(shape: Sequence[int] | None) -> tuple[int, int, int] | None:
    """``shape`` as channels, height and width; `DataError` when the network takes something else."""
    if shape is None:
        return None
    if len(shape) != 3:
        raise DataError(f"images need an input of channels x height x width, the network takes {tuple(shape)}")
    return shape[0], shape[1], shape[2]


def _normalised(console: Console, network: Network, data: DataSet) -> Network:
    """The network with what its inputs get from now on: how they are resized and normalised."""
    network = replace(network, metadata=replace(network.metadata, resize=data.resize))
    if network.metadata.normalization is not None:
        return network
    if data.normalization is None:
        console.warn(
            "neither the checkpoint nor the data say how inputs are normalised, so they stay in [0, 1]; "
            "a wrong normalisation costs most of the accuracy: pass --normalize"
        )
        return network
    return replace(network, metadata=replace(network.metadata, normalization=data.normalization))


def provenance(known: DataChoice | None, data: Data, *, part: str = "test") -> tuple[str, ...]:
    """What a reader of metrics on ``part`` must know about a network that was trained on ``known``."""
    from compressor.data.loaders import Loaders

    if isinstance(data, Loaders):
        return (
            f"Nothing says whether the network was trained on samples of {data.ref}. If it was, metrics on them can be "
            "compared with each other; they claim nothing about new ones.",
        )
    if known is None:
        return (
            "The checkpoint does not say what it was trained on. If that includes the images here, accuracies on them "
            "can be compared with each other; they claim nothing about new images.",
        )
    if (known.ref, known.split_seed) != (data.ref, data.split_seed):
        return (
            f"The checkpoint was trained on {known.ref} with split seed {known.split_seed}, not on this training part: "
            "it may have seen the images that accuracies are measured on.",
        )
    if part == "train":
        return ("The network was trained on these images: the accuracy claims nothing about new ones.",)
    return ()


def _class_names(path: Path | None) -> list[str] | None:
    if path is None:
        return None
    content = read_bytes(path, kind=UsageError, expansion=CLASS_NAME_EXPANSION, what=f"--classes {path}")
    try:
        names = [line.strip() for line in content.decode().splitlines() if line.strip()]
    except UnicodeDecodeError as error:
        raise UsageError(f"--classes {path} cannot be read: {error}") from error
    if not names:
        raise UsageError(f"--classes {path} is empty; it needs one class name per line")
    return names
