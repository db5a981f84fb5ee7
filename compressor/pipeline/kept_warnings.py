"""What Python warns of while a stage works, for the stage's record."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from typing import Any

from compressor.errors import warning_text


@contextlib.contextmanager
def kept_warnings() -> Iterator[list[str]]:
    """Yield the list of what is warned of inside; it is shown as well, as without this."""
    kept: list[str] = []
    with warnings.catch_warnings():
        shown = warnings.showwarning

        def keep(message: Warning | str, category: type[Warning], *where: Any, **options: Any) -> None:
            kept.append(warning_text(message, category))
            shown(message, category, *where, **options)

        warnings.showwarning = keep
        yield kept
