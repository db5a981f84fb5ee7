"""What a command writes: held from the check before any work until the command ends."""

from __future__ import annotations

from pathlib import Path

import click

OUTPUTS = "compressor.outputs"


def reserve(path: Path) -> None:
    """Hold ``path`` until the command ends; `CompressorError` when another process writes it."""
    from compressor.locks import hold

    ctx = click.get_current_context()
    ctx.with_resource(hold(path))
    ctx.meta.setdefault(OUTPUTS, {})[path] = _state(path)


def written(ctx: click.Context) -> str:
    """What a command that is stopped has written of all that it reserved."""
    done = [str(path) for path, before in ctx.meta.get(OUTPUTS, {}).items() if _state(path) != before]
    return f"{' and '.join(done)} was written" if done else "nothing was written; the same command starts again"


def _state(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns
