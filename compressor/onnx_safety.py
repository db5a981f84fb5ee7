"""ONNX files as others send them, read and checked before any runtime opens them.

A model may name other files as the place of its weights, and functions that grow a thousandfold when they are inlined.
Nothing here imports onnxruntime, and nothing that a model names is opened before it is known to be a regular file
inside the model's own folder.
"""

from __future__ import annotations

import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from onnx import AttributeProto, FunctionProto, GraphProto, ModelProto, NodeProto, TensorProto

from compressor.errors import CheckpointError, UsageError
from compressor.foreign import parsing
from compressor.limits import check_memory
from compressor.regular_files import read_bytes

DOMAIN = "ai.onnx"  # may be left out
DEEPEST = 100  # functions that call each other in a chain: runtimes inline them by recursion
# A runtime takes time that grows with the square of the nodes, so that functions may not multiply them.
MOST_NODES, GROWTH = 10_000, 10

Kind = tuple[str, str, str]  # what a node calls: domain, name and overload


@dataclass(frozen=True, slots=True)
class Checked:
    """A model whose references are sound, and the files with its external weights, each once."""

    model: ModelProto
    external: tuple[Path, ...]


def read_model(path: Path) -> Checked:
    """Read ``path`` without its external weights, and check what it refers to.

    Raises `UsageError` when it is missing, `CheckpointError` when it is no ONNX model or not to be opened.
    """
    if not path.is_file():
        raise UsageError(f"{path} does not exist or is not a file")
    content = read_bytes(path, kind=CheckpointError)
    model = ModelProto()
    with parsing(f"{path} is not an ONNX model; it"):
        model.ParseFromString(content)
    if not model.graph.node:
        raise CheckpointError(f"{path} is not an ONNX model: it has no nodes")
    with parsing(path):
        training = [graph for info in model.training_info for graph in (info.initialization, info.algorithm)]
        inside = parts([model.graph, *training], model.functions)
        _check_text(model, inside, path)
        _refuse_compiled(inside, path)
        _check_calls(model, path)
        places = [_place(tensor, path) for tensor in tensors(inside) if tensor.data_location == TensorProto.EXTERNAL]
    _check_sizes(places, path)
    return Checked(model, tuple(dict.fromkeys(file for file, _ in sorted(places))))


@dataclass(frozen=True, slots=True)
class Parts:
    """All that lies in a model or a function, however deep."""

    graphs: list[GraphProto]
    nodes: list[NodeProto]
    attributes: list[AttributeProto]


def parts(graphs: Iterable[GraphProto], functions: Iterable[FunctionProto]) -> Parts:
    """Graphs, nodes and attributes of ``graphs`` and ``functions``, with those of all subgraphs."""
    graphs, functions = list(graphs), list(functions)
    nodes = [node for function in functions for node in function.node]
    attributes = [attribute for function in functions for attribute in function.attribute_proto]
    found = Parts([], [], [])
    while graphs or nodes or attributes:  # one level of nesting at a time
        nodes += [node for graph in graphs for node in graph.node]
        attributes += [attribute for node in nodes for attribute in node.attribute]
        found.graphs.extend(graphs)
        found.nodes.extend(nodes)
        found.attributes.extend(attributes)
        graphs, nodes, attributes = [graph for attribute in attributes for graph in _inner(attribute)], [], []
    return found


def _check_text(model: ModelProto, inside: Parts, path: Path) -> None:
    """Protocol buffers give bytes where a string is no UTF-8, and nothing further on expects these."""
    named = [*model.graph.input, *model.graph.output, *model.graph.value_info, *tensors(inside), *inside.attributes]
    texts = [one.name for one in (*named, *inside.nodes)]
    texts += [text for node in inside.nodes for text in (node.op_type, node.domain, *node.input, *node.output)]
    texts += [text for entry in model.metadata_props for text in (entry.key, entry.value)]
    if any(isinstance(text, bytes) for text in texts):
        raise CheckpointError(f"{path} has names or metadata that are no UTF-8 text")


def _inner(attribute: AttributeProto) -> Iterator[GraphProto]:
    yield from (*((attribute.g,) if attribute.HasField("g") else ()), *attribute.graphs)


def tensors(inside: Parts) -> Iterator[TensorProto]:
    """Every tensor, also those that nothing uses."""
    sparse = [one for graph in inside.graphs for one in graph.sparse_initializer]
    for graph in inside.graphs:
        yield from graph.initializer
    for attribute in inside.attributes:
        yield from (attribute.t, *attribute.tensors)
        sparse += (attribute.sparse_tensor, *attribute.sparse_tensors)
    for one in sparse:
        yield from (one.values, one.indices)


def _place(tensor: TensorProto, path: Path) -> tuple[Path, int]:
    """The file that holds the data of ``tensor``, and how many bytes are read from it."""
    named = {entry.key: entry.value for entry in tensor.external_data}
    what = f"{path}: the weights of {tensor.name!r}"
    location = named.get("location", "")
    folder = path.absolute().parent.resolve()
    file = (folder / location).resolve()
    if not location or folder not in file.parents:
        raise CheckpointError(f"{what} lie in {location!r}, which is not inside the folder of the model")
    try:
        status = file.stat()
    except OSError as error:
        raise CheckpointError(f"{what} cannot be read: {location!r}: {error.strerror}") from error
    if not stat.S_ISREG(status.st_mode):
        raise CheckpointError(f"{what} lie in {location!r}, which is no regular file")
    offset = _number(named.get("offset", "0"))
    length = _number(named["length"]) if "length" in named else status.st_size - (offset or 0)
    if offset is None or length is None or not 0 <= offset <= offset + length <= status.st_size:
        shown = f"{named.get('length', 'all')} bytes from {named.get('offset', '0')} on"[:80]
        raise CheckpointError(f"{what} are {shown} of {location!r}, which holds {status.st_size} bytes")
    return file, length


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 20 else None


def _check_sizes(places: Sequence[tuple[Path, int]], path: Path) -> None:
    """Many tensors may lie on the same bytes, which are read for each of them."""
    held = sum(file.stat().st_size for file in {file for file, _ in places})
    check_memory(sum(length for _, length in places), f"{path} with its weights", held=held, kind=CheckpointError)


def _check_calls(model: ModelProto, path: Path) -> None:
    """Refuse functions that call themselves, or grow too far when a runtime inlines them."""
    bodies = {(f.domain or DOMAIN, f.name, f.overload): list(map(_kind, parts([], [f]).nodes)) for f in model.functions}
    sizes = _inlined_sizes(bodies, path)
    called = [_kind(node) for node in parts([model.graph], []).nodes]
    most = max(MOST_NODES, GROWTH * (len(called) + sum(map(len, bodies.values()))))
    if sum(sizes.get(kind, 1) for kind in called) > most:
        raise CheckpointError(f"{path} has functions that grow it to more than {most} nodes when they are inlined")


def _kind(node: NodeProto) -> Kind:
    return node.domain or DOMAIN, node.op_type, node.overload


def _inlined_sizes(bodies: Mapping[Kind, Sequence[Kind]], path: Path) -> dict[Kind, int]:
    """Nodes of each function with all that it calls; found from those that call nothing upwards."""
    sizes: dict[Kind, int] = {}
    for _ in range(DEEPEST):
        waiting = bodies.keys() - sizes.keys()
        ready = [name for name in waiting if waiting.isdisjoint(bodies[name])]
        if not ready:
            break
        sizes |= {name: sum(sizes.get(kind, 1) for kind in bodies[name]) for name in ready}
    if len(sizes) < len(bodies):
        raise CheckpointError(f"{path} has functions that call themselves, or each other more than {DEEPEST} deep")
    return sizes


def _refuse_compiled(inside: Parts, path: Path) -> None:
    """A context node holds, or names a file with, what another program compiled for its own device."""
    if any(node.op_type == "EPContext" for node in inside.nodes):
        raise CheckpointError(
            f"{path} holds a compiled EPContext node, which is run unseen; a plain ONNX file is needed"
        )
