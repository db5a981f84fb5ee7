"""Training figures as JSON lines, one an epoch, readable while the training runs."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from compressor.errors import CompressorError
from compressor.records import Epoch


@contextlib.contextmanager
def metrics_file(path: Path) -> Iterator[Callable[[Epoch], None]]:
    """Yield a function that appends one line to a new ``path``; `CompressorError` when it cannot be written.

    A training that fails leaves no file, so that the same command can be given again.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w", encoding="utf-8") as file:

            def write(epoch: Epoch) -> None:
                file.write(msgspec.json.encode(epoch).decode() + "\n")
                file.flush()

            try:
                yield write
            except BaseException:
                path.unlink()
                raise
    except OSError as error:
        raise CompressorError(f"cannot write {path}: {error.strerror or error}") from error
