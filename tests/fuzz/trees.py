"""Edits of nested data: dictionaries, lists and leaves, whatever file they were read from."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from hypothesis import strategies as st

from fuzz import raw

Tree = Any
Path = list[str | int]
Edit = list[Any]
# Patterns of places, their keys joined by slashes, and what is put there.
Aims = Sequence[tuple[str, st.SearchStrategy[Any]]]
Make = Callable[[Any], Any]


def paths(tree: Tree, here: Path | None = None, *, most: int = 60) -> Iterator[Path]:
    """The place of every node below the root; of a long list the first ``most`` entries."""
    here = here or []
    if isinstance(tree, dict):
        entries: list[Any] = list(tree.items())
    elif isinstance(tree, list):
        entries = list(enumerate(tree[:most]))
    else:
        return
    for key, value in entries:
        yield [*here, key]
        yield from paths(value, [*here, key], most=most)


def edited(tree: Tree, edit: Edit, make: Make) -> Tree:
    """``tree`` after one edit; the same where an edit before has removed its place."""
    if edit[0] == "copy":
        try:
            kept = at(tree, edit[2])
        except (KeyError, IndexError, TypeError):
            return tree
        return _edited(tree, ["set", edit[1], None], lambda _: kept)
    return _edited(tree, edit, make)


def _edited(tree: Tree, edit: Edit, make: Make) -> Tree:
    operation, path, *rest = edit
    if not path:
        return make(rest[0]) if operation == "set" else tree
    if not isinstance(tree, dict | list):
        return tree
    tree = copy.copy(tree)
    key, inner = path[0], path[1:]
    try:
        if inner:
            tree[key] = _edited(tree[key], [operation, inner, *rest], make)
        else:
            _apply(tree, operation, key, rest, make)
    except (KeyError, IndexError, TypeError):
        return tree
    return tree


def _apply(tree: Any, operation: str, key: Any, rest: list[Any], make: Make) -> None:
    match operation:
        case "set":
            tree[key] = make(rest[0])
        case "drop":
            del tree[key]
        case "double":
            if isinstance(tree, list):
                tree[key:key] = [tree[key]] * rest[0]
            else:
                tree[f"{key}2"] = tree[key]
        case "rename":
            tree[make(rest[0])] = tree.pop(key)
        case "wrap":
            tree[key] = [tree[key]] if rest[0] else {str(key): tree[key]}
        case "raw":
            if isinstance(tree[key], bytes):
                tree[key] = raw.edited(tree[key], rest[0])
        case _:
            raise ValueError(f"unknown edit {operation}")


def edits(tree: Tree, values: st.SearchStrategy[Any], aims: Aims = ()) -> st.SearchStrategy[Edit]:
    """One edit of a node of ``tree``, with ``values`` to put there; every second one at a place that ``aims`` name."""
    aimed = [(1, strategy) for pattern, wanted in aims if (strategy := _aimed(tree, pattern, wanted)) is not None]
    anywhere = _anywhere(tree, values)
    return weighted([(1, anywhere), (1, weighted(aimed))]) if aimed else anywhere


def weighted(choices: Sequence[tuple[int, st.SearchStrategy[Any]]]) -> st.SearchStrategy[Any]:
    """One of several strategies, each as often as its number says."""
    table = [strategy for number, strategy in choices for _ in range(number)]
    return st.integers(0, len(table) - 1).flatmap(table.__getitem__)


def _aimed(tree: Tree, pattern: str, wanted: st.SearchStrategy[Any]) -> st.SearchStrategy[Edit] | None:
    found = [path for path in paths(tree) if re.fullmatch(pattern, "/".join(map(str, path)))]
    return st.tuples(st.just("set"), st.sampled_from(found), wanted).map(list) if found else None


def _anywhere(tree: Tree, values: st.SearchStrategy[Any]) -> st.SearchStrategy[Edit]:
    everywhere = list(paths(tree))
    place = st.sampled_from(everywhere)
    choices = [
        st.tuples(st.just("set"), place, values).map(list),
        st.tuples(st.just("set"), place, values).map(list),
        st.tuples(st.just("drop"), place).map(list),
        st.tuples(st.just("double"), place, st.sampled_from((1, 1, 1000))).map(list),
        st.tuples(st.just("rename"), place, st.text(max_size=8)).map(list),
        st.tuples(st.just("wrap"), place, st.booleans()).map(list),
        st.tuples(st.just("copy"), place, place).map(list),
    ]
    if inner := [path for path in everywhere if isinstance(at(tree, path), bytes)]:
        choices.append(st.tuples(st.just("raw"), st.sampled_from(inner), raw.edits()).map(list))
    return st.one_of(choices)


def at(tree: Tree, path: Path) -> Any:
    """The node at ``path``."""
    for key in path:
        if not isinstance(tree, dict | list):
            raise TypeError(f"{key} is in no tree")
        tree = tree[key]
    return tree
