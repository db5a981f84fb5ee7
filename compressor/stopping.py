"""Being stopped from outside: signals as exceptions, so that everything tidies up, and the line that says what is kept.

Who knows what is kept adds it as a note to the `KeyboardInterrupt` that passes: ``stop.add_note("epoch 3 is kept")``.
"""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType

NAMES = {signal.SIGINT: "Ctrl-C", signal.SIGTERM: "SIGTERM", signal.SIGHUP: "SIGHUP"}


class Stop(KeyboardInterrupt):
    """Raised where the process was when the signal came."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


@contextlib.contextmanager
def signals_as_exceptions() -> Iterator[None]:
    """Inside the block SIGTERM and SIGHUP raise `Stop`, as Ctrl-C raises `KeyboardInterrupt`.

    A signal that somebody set to be ignored (``nohup``) stays ignored.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may say what signals do
        return
    before = {}
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_DFL:
            before[number] = signal.signal(number, _stop)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class Deferred:
    """Signals that wait until what they would interrupt can be gone on with; one that comes again waits no longer."""

    def __init__(self) -> None:
        self._came: int | None = None
        self._at_once = False

    @property
    def came(self) -> bool:
        """Whether one waits."""
        return self._came is not None

    def let_through(self) -> None:
        """Raise `Stop` where one waits."""
        if self._came is not None:
            raise Stop(self._came)

    @contextlib.contextmanager
    def at_once(self) -> Iterator[None]:
        """Inside the block, which may end anywhere, none waits."""
        self.let_through()
        self._at_once = True
        try:
            yield
        finally:
            self._at_once = False

    def take(self, number: int, frame: FrameType | None) -> None:
        """What the signal does."""
        if self._at_once or self.came:
            raise Stop(number)
        self._came = number


@contextlib.contextmanager
def deferred() -> Iterator[Deferred]:
    """Inside the block what `signals_as_exceptions` makes exceptions waits; elsewhere signals do what they did."""
    signals, waiting = Deferred(), list[signal.Signals]()
    try:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGHUP):
                if signal.getsignal(number) is _stop:
                    signal.signal(number, signals.take)
                    waiting.append(number)
        yield signals
    finally:
        for number in waiting:
            signal.signal(number, _stop)


def exit_code(stop: KeyboardInterrupt) -> int:
    """128 and the signal's number, as shells have it."""
    return 128 + _number(stop)


def name_of(stop: KeyboardInterrupt) -> str:
    """What stopped the command."""
    return NAMES[signal.Signals(_number(stop))]


def what_is_kept(stop: KeyboardInterrupt) -> str:
    """What the notes on the exception say, as one line."""
    return " ".join("; ".join(getattr(stop, "__notes__", ["nothing was written"])).split())


def _stop(number: int, frame: FrameType | None) -> None:
    raise Stop(number)


def _number(stop: KeyboardInterrupt) -> int:
    return stop.number if isinstance(stop, Stop) else signal.SIGINT
