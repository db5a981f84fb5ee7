"""Hypothesis draws cases of a kind from a seed: which file, how many edits of which level, which command."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import hypothesis
from hypothesis import HealthCheck, Phase
from hypothesis import strategies as st

from fuzz import places, raw, trees
from fuzz.cases import Case
from fuzz.kinds import FORMATS, KINDS

MOST = 3
NUMBERS = st.one_of(st.integers().map(str), st.floats().map(str))


def draw(kind: str, bases: Path, *, count: int, seed: int) -> list[Case]:
    """At most ``count`` cases, the same for the same ``seed``."""
    drawn: list[Case] = []
    if not _files(kind, bases):
        return drawn

    @hypothesis.seed(seed)
    @hypothesis.settings(
        max_examples=count,
        database=None,
        phases=[Phase.generate],
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @hypothesis.given(cases(kind, bases))
    def collect(case: Case) -> None:
        drawn.append(case)

    collect()
    return drawn


def cases(kind: str, bases: Path) -> st.SearchStrategy[Case]:
    """One case of ``kind``: an option's value, or edits of a file's tree, of its bytes, or of the folder around it."""
    described = KINDS[kind]
    if described.values:
        return _case(
            kind,
            file=st.sampled_from(sorted(described.files)),
            value=st.one_of(st.sampled_from(described.values), st.text(max_size=8), NUMBERS),
        )
    found = _files(kind, bases)
    trees_of = [(file, form) for file, forms in found.items() for form in forms]
    files = st.sampled_from(sorted(found))
    levels = [(6, _case(kind, file=files, raw=_some(raw.edits())))]
    levels += [(3 if described.folder else 1, _case(kind, file=files, around=_some(_around_edits(kind, bases))))]
    if trees_of:
        levels.append((13, st.sampled_from(trees_of).flatmap(lambda pair: _tree(kind, *pair, bases))))
    return trees.weighted(levels)


def _case(kind: str, **given: st.SearchStrategy[Any]) -> st.SearchStrategy[Case]:
    return st.builds(Case, kind=st.just(kind), command=st.sampled_from(KINDS[kind].commands), **given)


def _files(kind: str, bases: Path) -> dict[str, tuple[str, ...]]:
    """The files of a kind, with their formats."""
    patterns = KINDS[kind].files.items()
    return {str(path.relative_to(bases)): forms for pattern, forms in patterns for path in sorted(bases.glob(pattern))}


def _tree(kind: str, file: str, form: str, bases: Path) -> st.SearchStrategy[Case]:
    edits = _some(_tree_edits(form, bases / file))
    return _case(kind, file=st.just(file), format=st.just(form), tree=edits)


@cache
def _tree_edits(form: str, file: Path) -> st.SearchStrategy[trees.Edit]:
    known = FORMATS[form]
    return trees.edits(known.read(file.read_bytes()), known.values(), known.aims())


def _around_edits(kind: str, bases: Path) -> st.SearchStrategy[places.Edit]:
    described = KINDS[kind]
    names = sorted(_files(kind, bases))
    if described.folder:
        names += sorted(str(path.relative_to(bases)) for path in (bases / described.folder).rglob("*"))
    return places.edits(names)


def _some(edits: st.SearchStrategy[list[Any]]) -> st.SearchStrategy[tuple[list[Any], ...]]:
    return st.lists(edits, min_size=1, max_size=MOST).map(tuple)
