"""Hypothesis draws cases of a kind from a seed: which file, how many edits of which level, which command."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import hypothesis
from hypothesis import HealthCheck, Phase
from hypothesis import strategies as st

from fuzz import places, raw, trees
from fuzz.cases import Case
from fuzz.kinds import FORMATS, KINDS


def draw(kind: str, bases: Path, *, count: int, seed: int) -> list[Case]:
    """At most ``count`` cases, the same for the same ``seed``."""
    drawn: list[Case] = []

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
    """One case of ``kind``."""
    described = KINDS[kind]
    levels = [_raw(kind, file) for file in described.files]
    levels += [_tree(kind, file, form, bases) for file, forms in described.files.items() for form in forms]
    if described.folder:
        levels.append(_around(kind, bases))
    return st.one_of(levels)


def _raw(kind: str, file: str) -> st.SearchStrategy[Case]:
    return st.builds(
        Case, kind=st.just(kind), file=st.just(file), command=_command(kind), raw=_some(raw.edits(), most=3)
    )


def _tree(kind: str, file: str, form: str, bases: Path) -> st.SearchStrategy[Case]:
    edits = _tree_edits(form, bases / file)
    build = st.builds(
        Case,
        kind=st.just(kind),
        file=st.just(file),
        format=st.just(form),
        command=_command(kind),
        tree=_some(edits, most=3),
    )
    return st.one_of(build, build)


@cache
def _tree_edits(form: str, file: Path) -> st.SearchStrategy[trees.Edit]:
    return trees.edits(FORMATS[form].read(file.read_bytes()), FORMATS[form].values())


def _around(kind: str, bases: Path) -> st.SearchStrategy[Case]:
    described = KINDS[kind]
    top = bases / described.folder
    names = sorted(str(path.relative_to(bases)) for path in top.rglob("*"))
    return st.builds(
        Case,
        kind=st.just(kind),
        file=st.sampled_from(sorted(described.files)),
        command=_command(kind),
        around=_some(places.edits(names), most=3),
    )


def _command(kind: str) -> st.SearchStrategy[str]:
    return st.sampled_from(KINDS[kind].commands)


def _some(edits: st.SearchStrategy[list], *, most: int) -> st.SearchStrategy[tuple[list, ...]]:
    return st.lists(edits, min_size=1, max_size=most).map(tuple)
