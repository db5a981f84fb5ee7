"""One case: a file, its edits and a command, as plain data that makes the same files again."""

from __future__ import annotations

import dataclasses
import json
import shlex
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fuzz import places, raw, trees, values
from fuzz.bases import PAYLOAD, SHARED
from fuzz.kinds import FORMATS, KINDS


@dataclass(frozen=True, kw_only=True)
class Case:
    """A ``file`` of a ``kind`` after edits of its tree, of its bytes and of the folder around it, and who reads it."""

    kind: str
    file: str
    command: str
    value: str = ""
    format: str | None = None
    tree: tuple[list[Any], ...] = ()
    raw: tuple[list[Any], ...] = ()
    around: tuple[list[Any], ...] = ()

    @property
    def edits(self) -> int:
        """How many there are."""
        return len(self.tree) + len(self.raw) + len(self.around)

    @property
    def arguments(self) -> list[str]:
        """The command line after ``compress``."""
        return [self._filled(word) for word in shlex.split(self.command)]

    def _filled(self, word: str) -> str:
        return word.replace("FILE", self.file).replace("VALUE", self.value)

    def save(self, path: Path) -> None:
        """As JSON."""
        path.write_text(json.dumps(dataclasses.asdict(self), indent=1))


def read(path: Path) -> Case:
    """What `Case.save` wrote."""
    plain = json.loads(path.read_text())
    return Case(**{key: tuple(value) if isinstance(value, list) else value for key, value in plain.items()})


def make(case: Case, bases: Path, folder: Path, outside: Path) -> None:
    """Lay out the case's own ``folder``; ``outside`` is where its values point."""
    kind, where = KINDS[case.kind], {"outside": str(outside)}
    if kind.folder:
        shutil.copytree(bases / kind.folder, folder / kind.folder, dirs_exist_ok=True)
    for name in (*SHARED, *kind.beside, case.file):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(bases / name, folder / name)
    (folder / "payload.py").write_text(PAYLOAD)
    (folder / case.file).write_bytes(mutated((bases / case.file).read_bytes(), case, where))
    for change in (*kind.around, *case.around):
        places.edit(folder, change, where)


def mutated(content: bytes, case: Case, where: dict[str, str]) -> bytes:
    """``content`` after the case's edits."""
    if case.format is not None:
        form = FORMATS[case.format]
        tree = form.read(content)
        for change in case.tree:
            tree = trees.edited(tree, change, lambda value: form.made(values.made(value, where)))
        content = form.write(tree)
    for change in case.raw:
        content = raw.edited(content, change)
    return content
