"""Trained networks on disk: load files of any origin, save our own format.

Our file is ``.pt`` (readable with ``torch.load(weights_only=True)``) or ``.safetensors``; it holds tensors and a
plain-data header with the architecture, the edits that shrank it, input shape, normalisation, class names and more.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor, nn

import compressor
from compressor.checkpoints.allocation import building, check_forward
from compressor.checkpoints.examples import PREFIX
from compressor.checkpoints.matching import fill, option, propose
from compressor.checkpoints.metadata import FORMAT, DataChoice, Metadata, from_plain
from compressor.checkpoints.network import Fed, Network, described
from compressor.checkpoints.reading import read
from compressor.checkpoints.structure import Edit, difference, replay
from compressor.checkpoints.unsaved import restore, unsaved
from compressor.computed_weights import FOLDED, fold_weights, tell
from compressor.errors import CheckpointError, UnknownName, UsageError
from compressor.files import refuse_existing, write_bytes
from compressor.inputs import Inputs
from compressor.shards import refuse_shards
from compressor.sources import Architecture, input_shape_of, refuse_reaching_out

__all__ = ["DataChoice", "Metadata", "Network", "embedded", "fresh", "load", "save"]

SUFFIXES = (".pt", ".safetensors")


def load(
    model: str | Path,
    *,
    arch: str | None = None,
    arch_args: Mapping[str, Any] | None = None,
    input_shape: Sequence[int] | None = None,
    example: Inputs | None = None,
    outputs: str | int | Sequence[str | int] | None = None,
    normalize: str | None = None,
    classes: Sequence[str] | None = None,
    trust_arch: bool = False,
    trusted: Architecture | None = None,
    state_key: str | None = None,
) -> Network:
    """Load a checkpoint file, ours or of another origin, or an embedded model by name.

    A file that is not ours needs ``arch``; the other arguments say what it does not know, and
    overrule it where it does: ``example`` (or several `Examples`) what the network is called with instead of a tensor
    of ``input_shape``, ``outputs`` the places or keys of what it returns that count.
    Nothing in the file is executed: `CheckpointError` refuses such files.
    An architecture that runs a user's code is built only when ``arch`` or ``trust_arch`` says so. ``trusted`` is the
    one that the file must name: `CheckpointError` for a file with any other. ``state_key``: where the tensors lie.
    """
    path = locate(model)
    state, header = read(path, state_key)
    if header is not None and state_key is not None:
        raise UsageError(f"--state-key {state_key} is for files of other projects; {path} says where its tensors lie")
    edits: tuple[Edit, ...] = ()
    metadata = None
    if header is not None:
        held = {name: state.pop(name) for name in [*state] if name.startswith(PREFIX)}
        try:
            metadata, edits = from_plain(header, held)
        except CheckpointError as error:
            raise CheckpointError(f"{path} cannot be read: {error}") from error
    architecture = _architecture(path, state, metadata, arch, arch_args)
    if trusted is not None:
        _require_same(path, architecture, trusted)
    elif not trust_arch:
        # The user's word covers what it names: not the arguments that only the file gives.
        from_file = {key: value for key, value in architecture.args.items() if key not in (arch_args or {})}
        refuse_reaching_out(replace(architecture, args=from_file))
    size = path.stat().st_size
    with building(f"{architecture.ref} of {path}", held=size, kind=CheckpointError):
        network = _built(architecture, trust=trust_arch or arch is not None or trusted is not None)
    try:
        with building("the network", held=size, kind=CheckpointError):
            replay(network, edits)
    except CheckpointError as error:
        raise CheckpointError(f"{path} does not fit {architecture.ref}: {error}") from error
    restore(network, edits, state, path)
    fill(network, state, path, architecture.ref, ours=header is not None)
    known = described(metadata, architecture, network, Fed(input_shape, example, outputs), normalize, classes)
    kind = UsageError if input_shape or example is not None else CheckpointError
    usual = not edits and known.input_shape == input_shape_of(network)
    check_forward(network, known.input_shape, held=size, kind=kind, usual=usual, examples=known.examples)
    return Network(network.eval(), known, path)


def fresh(
    arch: str,
    *,
    arch_args: Mapping[str, Any] | None = None,
    input_shape: Sequence[int] | None = None,
    example: Inputs | None = None,
    outputs: str | int | Sequence[str | int] | None = None,
    normalize: str | None = None,
    classes: Sequence[str] | None = None,
    seed: int = 0,
) -> Network:
    """A network of architecture ``arch`` with random weights drawn from ``seed``."""
    architecture = Architecture(arch, dict(arch_args or {}))
    with building(arch, held=0, kind=UsageError), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = architecture.build(trust=True)
    tell(fold_weights(model), FOLDED, 2)
    known = described(None, architecture, model, Fed(input_shape, example, outputs), normalize, classes)
    usual = known.input_shape == input_shape_of(model)
    check_forward(model, known.input_shape, held=0, kind=UsageError, usual=usual, examples=known.examples)
    return Network(model.eval(), known)


def save(
    network: Network | nn.Module,
    path: str | Path,
    *,
    arch: str | None = None,
    arch_args: Mapping[str, Any] | None = None,
    input_shape: Sequence[int] | None = None,
    example: Inputs | None = None,
    outputs: str | int | Sequence[str | int] | None = None,
    normalize: str | None = None,
    classes: Sequence[str] | None = None,
    overwrite: bool = False,
) -> None:
    """Write ``network`` to ``path`` (.pt or .safetensors), whole or not at all.

    A bare module needs ``arch``, the reference of the factory that makes it in full size; the other
    arguments are as in `load`. The architecture is built once more to record in which sizes the model
    differs from it. `UsageError` when the file exists and ``overwrite`` is not given, or the ending is unknown.
    """
    refuse_shards(network if isinstance(network, nn.Module) else network.model)
    if isinstance(network, nn.Module):
        if arch is None:
            raise UsageError("saving a bare module needs arch=, for example arch='package.module:factory'")
        architecture = Architecture(arch, dict(arch_args or {}))
        fed = Fed(input_shape, example, outputs)
        network = Network(network, described(None, architecture, network, fed, normalize, classes))
    path = Path(path)
    if path.suffix not in SUFFIXES:
        raise UsageError(f"{path} must end in {' or '.join(SUFFIXES)}")
    refuse_existing(path, overwrite=overwrite)
    dense = _built(network.metadata.architecture, trust=True)
    edits = difference(dense, network.model)
    header = network.metadata.to_plain(edits)
    kept = {
        **network.model.state_dict(),
        **unsaved(network.model, edits),
        **network.metadata.example_tensors(),
    }
    state = {key: value.detach().cpu().contiguous() for key, value in kept.items()}
    if path.suffix == ".safetensors":
        # Tied weights are written once per name: the format has no sharing.
        content = safetensors.torch.save(
            {key: value.clone() for key, value in state.items()}, {FORMAT: json.dumps(header)}
        )
    else:
        buffer = io.BytesIO()
        torch.save({"format": FORMAT, "header": header, "state": state}, buffer)
        content = buffer.getvalue()
    write_bytes(path, content)


def locate(model: str | Path) -> Path:
    """The file called ``model``, or the embedded model of that name; `UnknownName` when neither is there."""
    path, known = Path(model), embedded()
    if path.exists():
        return path
    if str(model) in known:
        return known[str(model)]
    if len(path.parts) == 1 and not path.suffix:
        raise UnknownName("file or embedded model", str(model), known)
    raise CheckpointError(f"{path} does not exist; MODEL is a file or one of: {', '.join(known)}")


def embedded() -> dict[str, Path]:
    """The networks that ship with this package, by name, sorted: ``models/`` in the sources and in the wheel."""
    return {path.stem: path for path in sorted(_models().glob("*.pt"))}


def _models() -> Path:
    """Where the embedded models lie: inside an installed package, beside it in a source tree."""
    package = Path(compressor.__file__).parent
    inside = package / "models"
    return inside if inside.is_dir() else package.parent / "models"


def _built(architecture: Architecture, *, trust: bool) -> nn.Module:
    """Build without disturbing the caller's random numbers."""
    with torch.random.fork_rng(devices=[]):
        return architecture.build(trust=trust)


def _require_same(path: Path, found: Architecture, wanted: Architecture) -> None:
    # Compared as a header keeps the arguments: a tuple has become a list.
    one, other = (json.dumps([each.ref, dict(each.args)], sort_keys=True) for each in (found, wanted))
    if one != other:
        raise CheckpointError(
            f"{path} is refused: it is a network of architecture {found.ref!r}, and {wanted.ref!r} was given here, "
            "with other arguments or another name; it was changed, or belongs to something else"
        )


def _architecture(
    path: Path,
    state: dict[str, Tensor],
    metadata: Metadata | None,
    arch: str | None,
    arch_args: Mapping[str, Any] | None,
) -> Architecture:
    if metadata is not None and arch in {None, metadata.architecture.ref}:
        return replace(metadata.architecture, args={**metadata.architecture.args, **(arch_args or {})})
    if arch is not None:
        return Architecture(arch, dict(arch_args or {}))
    guess = propose(state)
    hint = f"its tensors fit {option(guess)}" if guess else "for example --arch torchvision:resnet18"
    raise UsageError(f"{path} does not say its architecture; pass --arch ({hint})")
