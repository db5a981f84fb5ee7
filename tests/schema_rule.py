"""What a change of the published schema may do without a new version: nothing that an older document would miss."""

from collections.abc import Iterator, Mapping
from typing import Any

Schema = Mapping[str, Any]


def breaking(old: Schema, new: Schema) -> list[str]:
    """What in ``new`` refuses documents of ``old``, or no longer says what they say; one line each."""
    return [*_documents(old, new), *_definitions(old.get("$defs", {}), new.get("$defs", {}))]


def _documents(old: Schema, new: Schema) -> Iterator[str]:
    known = {entry.get("$ref") for entry in new.get("anyOf", [])}
    for entry in old.get("anyOf", []):
        if entry.get("$ref") not in known:
            yield f"{entry.get('$ref')} is no document any more"


def _definitions(old: Schema, new: Schema) -> Iterator[str]:
    for name, before in old.items():
        if name not in new:
            yield f"{name} is gone"
        else:
            yield from _record(name, before, new[name])


def _record(name: str, old: Schema, new: Schema) -> Iterator[str]:
    fields, renewed = old.get("properties", {}), new.get("properties", {})
    for field, before in fields.items():
        if field not in renewed:
            yield f"{name}.{field} is gone"
        elif not _takes(before, renewed[field]):
            yield f"{name}.{field} takes less than before"
    for field in sorted({*new.get("required", [])} - {*old.get("required", [])}):
        yield f"{name}.{field} is required now"


def _takes(old: Schema, new: Schema) -> bool:
    """Whether every value that ``old`` takes is one that ``new`` takes."""
    old, new = ({key: kind[key] for key in kind.keys() - {"default", "description"}} for kind in (old, new))
    if "anyOf" in old:
        return all(_takes(one, new) for one in old["anyOf"])
    if "anyOf" in new:
        return any(_takes(old, one) for one in new["anyOf"])
    wider = not new or (old.get("type"), new.get("type")) == ("integer", "number")
    return wider or (old.keys() == new.keys() and all(_part_takes(key, old[key], new[key]) for key in old))


def _part_takes(key: str, old: Any, new: Any) -> bool:
    match key:
        case "enum":
            return {*old} <= {*new}
        case "items" | "additionalProperties" if isinstance(old, dict) and isinstance(new, dict):
            return _takes(old, new)
        case "prefixItems":
            return len(old) == len(new) and all(map(_takes, old, new))
    return bool(old == new)
