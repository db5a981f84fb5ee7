"""Training figures as JSON lines, one an epoch, readable while the training runs."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from compressor.errors import CompressorError


@contextlib.contextmanager
def metrics_file(path: Path) -> Iterator[Callable[[dict[str, Any]], None]]:
    """Yield a function that appends one line to a new ``path``; `CompressorError` when it cannot be written.

    A training that fails leaves no file, so that the same command can be given again.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w", encoding="utf-8") as file:

            def write(figures: dict[str, Any]) -> None:
                file.write(json.dumps(figures) + "\n")
                file.flush()

            try:
                yield write
            except BaseException:
                path.unlink()
                raise
    except OSError as error:
        raise CompressorError(f"cannot write {path}: {error.strerror or error}") from error
