"""The one codec of the records: JSON out, JSON in with every check, and the published schema.

It is msgspec's, because that one declaration gives decoding, strict validation and the JSON schema, and because it
loads in milliseconds, which the benchmark's own process needs.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from compressor.errors import CompressorError
from compressor.files import write_bytes
from compressor.locks import check_held
from compressor.records import SCHEMA_VERSION
from compressor.records.benchmark import BenchmarkReport
from compressor.records.costs import Costs
from compressor.records.run import Epoch, Report, RunReport
from compressor.records.sweep import SweepReport
from compressor.regular_files import read_bytes

Kind = TypeVar("Kind")
SHOWN = 40  # characters of a wrong value
LONGEST = 20_000  # entries of a list: more would take minutes to draw
LARGEST = 1e100  # a number; charts square what they show
DEEPEST = 50  # levels of nesting
EXPANSION = 30  # of JSON read into memory: two bytes, as in [[],[]], become an object
WORDS = {
    "int": "a whole number",
    "float": "a number",
    "str": "text",
    "bool": "true or false",
    "array": "a list",
    "object": "an object",
    "|": "or",
}


def encode(value: object) -> bytes:
    """Records or plain data as indented JSON; NaN and infinity, unknown to JSON, become null."""
    try:
        content = msgspec.json.encode(value)
    except UnicodeEncodeError:  # the name of a file that is not UTF-8
        content = msgspec.json.encode(_writable(msgspec.to_builtins(value)))
    return msgspec.json.format(content, indent=2)


def _writable(value: Any) -> Any:
    """Plain data whose text has escapes in place of lone surrogates, which no encoding takes."""
    match value:
        case str():
            return value.encode(errors="backslashreplace").decode()
        case dict():
            return {_writable(key): _writable(item) for key, item in value.items()}
        case list() | tuple():
            return [_writable(item) for item in value]
    return value


def decode(content: bytes, kind: type[Kind], source: str) -> Kind:
    """Read JSON as ``kind``; `CompressorError` of one line that names ``source``, the place and the value."""
    return _convert(_parse(content, source), kind, f"{source} is damaged")


def decode_report(content: bytes, source: str) -> Report:
    """Read a run or benchmark report of this schema version or an older one; `CompressorError` on anything else."""
    document = _parse(content, source)
    kind = document.get("kind") if isinstance(document, dict) else None
    if kind not in ("run", "benchmark"):
        raise CompressorError(f"{source} is not a run or benchmark document of this tool")
    complaint = f"{source} is not a whole {kind} document"
    if "schema_version" not in document:
        raise CompressorError(f"{complaint}: schema_version is missing")
    version = document["schema_version"]
    if isinstance(version, int) and version > SCHEMA_VERSION:
        raise CompressorError(
            f"{source} has schema version {version}, newer than the {SCHEMA_VERSION} known here; upgrade"
        )
    document = _from_version_1(document) if version == 1 else document
    if kind == "benchmark":
        return _convert(document, BenchmarkReport, complaint)
    run = _convert(document, RunReport, complaint)
    if not run.stages:
        raise CompressorError(f"{complaint}: stages must hold at least the dense network")
    return run


def read_report(path: Path) -> Report:
    """`decode_report` of a file; `CompressorError` also when it cannot be read."""
    return decode_report(read_bytes(Path(path), expansion=EXPANSION), str(path))


def write_report(path: Path, report: Report) -> None:
    """Write ``report`` to ``path``, whole or not at all, and only if it can be read again."""
    content = encode(report)
    decode_report(content, str(path))
    write_bytes(Path(path), content + b"\n")


def read_costs(path: Path) -> Costs:
    """What ``compress costs`` measured; `CompressorError` for anything else, and of a newer version."""
    costs = decode(read_bytes(Path(path), expansion=EXPANSION), Costs, str(path))
    if costs.schema_version > SCHEMA_VERSION:
        raise CompressorError(
            f"{path} has schema version {costs.schema_version}, newer than the {SCHEMA_VERSION} known here; upgrade"
        )
    return costs


def write_costs(path: Path, costs: Costs) -> None:
    """Write ``costs`` to ``path``, whole or not at all."""
    write_bytes(Path(path), encode(costs) + b"\n")


@contextlib.contextmanager
def metrics_file(path: Path, known: Sequence[Epoch] = ()) -> Iterator[Callable[[Epoch], None]]:
    """Yield a function that appends an epoch, one line of JSON, to ``path``, which begins with those ``known`` already.

    What was in ``path`` is replaced. `CompressorError` when it cannot be written.
    """
    check_held()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Never through a link that somebody has put there.
        path.unlink(missing_ok=True)
        with path.open("xb") as file:

            def write(epoch: Epoch) -> None:
                file.write(_line(epoch))
                file.flush()

            for epoch in known:
                write(epoch)
            yield write
    except OSError as error:
        raise CompressorError(f"cannot write {path}: {error.strerror or error}") from error


def write_metrics(path: Path, epochs: Sequence[Epoch]) -> None:
    """Write all ``epochs`` to ``path``, whole or not at all, one line of JSON each."""
    write_bytes(path, b"".join(map(_line, epochs)))


def _line(epoch: Epoch) -> bytes:
    return msgspec.json.encode(epoch) + b"\n"


def schema() -> dict[str, Any]:
    """The JSON schema of all documents, as published in docs/report.schema.json."""
    about = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "Reports of the compress command"}
    return {**about, **msgspec.json.schema(Report | SweepReport)}


def _parse(content: bytes, source: str) -> Any:
    try:
        plain = msgspec.json.decode(content)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        reason = str(error).removeprefix("JSON is malformed: ")
        raise CompressorError(f"{source} is not JSON: {reason}") from error
    if fault := _unbearable(plain, DEEPEST):
        raise CompressorError(f"{source} holds {fault}")
    return plain


def _unbearable(value: Any, levels: int) -> str | None:
    """What JSON may hold and no report does: numbers that no chart takes, and endless nesting."""
    if isinstance(value, int):
        return f"a number of {value.bit_length()} bits, too large for any figure" if value.bit_length() > 64 else None
    if isinstance(value, float):
        return f"the number {value:g}, too large for any figure" if abs(value) > LARGEST else None
    if levels == 0:
        return f"more than {DEEPEST} nested levels"
    items = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    if len(items) > LONGEST:
        return f"a list of {len(items)} entries, more than {LONGEST}"
    return next(filter(None, (_unbearable(item, levels - 1) for item in items)), None)


def _convert(plain: Any, kind: type[Kind], complaint: str) -> Kind:
    try:
        return msgspec.convert(plain, kind)
    except msgspec.ValidationError as error:
        raise CompressorError(f"{complaint}: {_located(str(error), plain)}") from error


def _located(message: str, plain: Any) -> str:
    """msgspec's ``Expected `int`, got `str` - at `$.a[0]``` as ``a[0] must be a whole number, got 'x'``."""
    what, _, path = message.replace("`", "").partition(" - at $")
    if missing := re.fullmatch(r"Object missing required field (.*)", what):
        return f"{path}.{missing[1]} is missing".lstrip(".")
    shown = ascii(_value_at(plain, path))
    value = f"{shown[:SHOWN]}{'...' * (len(shown) > SHOWN)}"
    return f"{path.lstrip('.') or 'the document'} {_fault(what)}, got {value}"


def _fault(what: str) -> str:
    if wanted := re.fullmatch(r"Expected (.*), got .*", what):
        return "must be " + re.sub(r"[a-z]+|[|]", lambda word: WORDS.get(word[0], word[0]), wanted[1])
    return "is none of the values known" if what.startswith("Invalid") else f"cannot be read ({what[:SHOWN]})"


def _value_at(plain: Any, path: str) -> Any:
    """The value at msgspec's path, or the object around it where that does not give the key (``[...]``)."""
    for name, index in re.findall(r"\.(\w+)|\[(\d+|\.\.\.)\]", path):
        if index == "...":
            break
        plain = plain[name] if name else plain[int(index)]
    return plain


def _from_version_1(document: dict[str, Any]) -> dict[str, Any]:
    """Version 1 called a stage's metric its accuracy, and gave that of an epoch as a bare number."""

    def renewed(name: str, old: str, new: str, renew: Callable[[Any], Any]) -> dict[str, Any]:
        rows = document.get(name)
        if not isinstance(rows, list):
            return {}
        holds = [isinstance(row, dict) and old in row for row in rows]
        return {name: [{**row, new: renew(row[old])} if ok else row for ok, row in zip(holds, rows, strict=True)]}

    return {
        **document,
        "schema_version": SCHEMA_VERSION,
        **renewed("stages", "accuracy", "metric", lambda accuracy: accuracy),
        **renewed("training", "val_accuracy", "validation", _validation),
    }


def _validation(share: Any) -> dict[str, Any] | None:
    return None if share is None else {"value": share, "n": None}
