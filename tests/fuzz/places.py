"""Edits of a case's folder: what a path may be beside a plain file."""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

Edit = list[Any]
DEVICES = ("/dev/zero", "/dev/null", "/dev/stdin", "/dev/tty", "/proc/self/mem")
TARGETS = (*DEVICES, ".", "..", "loop", "missing", "/etc/passwd", "{outside}/fifo", "{outside}/secret.npz")
NAMES = (
    *("new", "new.png", "\x1b[31mred.png", "two\nlines", "a b", "é\u202e.png", "-rf", "payload.py", "loop"),
    *("report.json", "run.json", "train", "test", "val", "stages"),
)


def edit(folder: Path, change: Edit, places: dict[str, str]) -> None:
    """Make one ``change`` below ``folder``; one that cannot be made, because of one before it, is none."""
    operation, name, *rest = change
    path = folder / name
    with contextlib.suppress(OSError, ValueError):
        if operation != "many":
            _remove(path)
            path.parent.mkdir(parents=True, exist_ok=True)
        match operation:
            case "fifo":
                os.mkfifo(path)
            case "link":
                path.symlink_to(_filled(rest[0], places))
            case "folder":
                path.mkdir()
            case "file":
                path.write_bytes(bytes.fromhex(rest[0]))
            case "many":
                for number in range(rest[0]):
                    (path.parent / f"{number}-{path.name}").symlink_to(path.name)


def edits(names: list[str]) -> st.SearchStrategy[Edit]:
    """One edit of a folder that holds ``names``."""
    parents = sorted({str(Path(name).parent) for name in names})
    new = st.builds(lambda parent, name: f"{parent}/{name}", st.sampled_from(parents), st.sampled_from(NAMES))
    name = st.one_of(st.sampled_from(names), new)
    return st.one_of(
        st.tuples(st.just("remove"), st.sampled_from(names)).map(list),
        st.tuples(st.just("fifo"), name).map(list),
        st.tuples(st.just("link"), name, st.sampled_from((*TARGETS, *map(os.path.basename, names[:3])))).map(list),
        st.tuples(st.just("folder"), name).map(list),
        st.tuples(st.just("file"), name, st.sampled_from(("", "00", "7b7d", "5b5d", "6e756c6c"))).map(list),
        st.tuples(st.just("many"), name, st.sampled_from((10, 300))).map(list),
    )


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _filled(text: str, places: dict[str, str]) -> str:
    for name, place in places.items():
        text = text.replace("{" + name + "}", place)
    return text
