"""What libraries say while a command works, Python's warnings and log lines, said as the command's own warnings."""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Callable, Iterator
from typing import Any

from compressor.errors import warning_text


class _Handler(logging.Handler):
    """Turns a record that no other handler takes into a warning, so that all take the same way."""

    def emit(self, record: logging.LogRecord) -> None:
        message = UserWarning(record.getMessage())
        warnings.showwarning(message, UserWarning, record.pathname, record.lineno)


@contextlib.contextmanager
def passed_to(warn: Callable[[str], None]) -> Iterator[None]:
    """Inside it, ``warn`` gets what Python and libraries would print: a warning, or the log line of a library."""

    def show(message: Warning | str, category: type[Warning], *where: Any, **options: Any) -> None:
        warn(warning_text(message, category))

    last = logging.lastResort
    with warnings.catch_warnings():
        warnings.showwarning = show
        logging.lastResort = _Handler(logging.WARNING)
        try:
            yield
        finally:
            logging.lastResort = last
