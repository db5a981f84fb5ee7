"""The only place that prints: results to stdout, progress and warnings to stderr; and the small tables of commands."""

from __future__ import annotations

import contextlib
import re
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from rich import box
from rich.console import Console as RichConsole
from rich.console import ConsoleOptions, RenderableType
from rich.progress import BarColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as ProgressBar
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from compressor.codec import encode
from compressor.progress import Progress, silent
from compressor.records import Metric
from compressor.report.again import Copyable
from compressor.report.format import metric_value, plain

# Without a terminal, a line of progress now and then keeps logs alive without flooding them.
QUIET_SECONDS = 15.0

Announce = Callable[[str], None]


class HarmlessConsole(RichConsole):
    """A console in which text is text: no markup, no emoji codes, and nothing but rich itself steers the terminal."""

    def __init__(self, **options: Any) -> None:
        super().__init__(markup=False, emoji=False, highlight=False, **options)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """What rich draws, whatever it is made of, with `printable` text; its own controls pass."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(printable(segment.text), segment.style)


class _Bar(ProgressBar):
    """The figures have a line of their own, so that they squeeze neither the bar nor the times."""

    def get_renderables(self) -> Iterator[RenderableType]:
        yield self.make_tasks_table(self.tasks)
        for task in self.tasks:
            if figures := task.fields["figures"]:
                yield Text(f"    {figures}", no_wrap=True, overflow="ellipsis")


class Console:
    """Output of one command, honouring ``--json`` and ``--quiet``; ``warnings`` are those printed so far."""

    def __init__(self, *, as_json: bool = False, quiet: bool = False) -> None:
        self._as_json = as_json
        self._quiet = quiet
        # As it is now: what code of others prints later is sent to stderr.
        self._out = HarmlessConsole(file=sys.stdout)
        self._err = HarmlessConsole(stderr=True)
        self.warnings: list[str] = []

    def result(self, document: object, *renderables: RenderableType) -> None:
        """The command's result: under ``--json`` the ``document`` (records or plain data), else what people read."""
        if self._as_json:
            print(_escaped(encode(document).decode()), file=self._out.file)
            return
        for renderable in renderables:
            if isinstance(renderable, str):
                # A terminal breaks lines between words; a file keeps them whole.
                whole = isinstance(renderable, Copyable) or not self._out.is_terminal
                self._out.print(printable(renderable), soft_wrap=whole)
            else:
                self._out.print(renderable)

    def note(self, text: str) -> None:
        """A line of progress."""
        if not self._quiet:
            self._err.print(printable(text), style="dim", soft_wrap=not self._err.is_terminal)

    def warn(self, text: str) -> None:
        """A line that the user should read; ``--quiet`` does not hide it."""
        self.warnings.append(plain(text))
        line = Text.assemble(("Warning:", "yellow"), " ", printable(text))
        self._err.print(line, soft_wrap=not self._err.is_terminal)

    def with_printed(self, warnings: Iterable[str]) -> tuple[str, ...]:
        """The warnings printed so far and these, each once, as a report keeps them."""
        return tuple(dict.fromkeys((*self.warnings, *map(plain, warnings))))

    @contextlib.contextmanager
    def progress(self, title: str) -> Iterator[Progress]:
        """A progress bar on a terminal, a line now and then elsewhere; yields ``update(share, text)``."""
        if self._quiet:
            yield silent
        elif self._err.is_terminal:
            with self._bar() as bar:
                task = bar.add_task(plain(title), total=1.0, figures="")
                yield lambda share, text: bar.update(task, completed=share, figures=plain(text))
        else:
            yield self._lines(title)

    @contextlib.contextmanager
    def stages(self, titles: Mapping[str, str]) -> Iterator[tuple[Announce, Announce, Progress]]:
        """For a run of several stages: yields ``start(stage)``, ``skip(stage)`` and ``update(share, text)``."""
        with contextlib.ExitStack() as stack:
            current: list[Progress] = []

            def start(stage: str) -> None:
                stack.close()
                self.note(titles[stage])
                current[:] = [stack.enter_context(self.progress(f"  {stage}"))]

            def skip(stage: str) -> None:
                stack.close()
                self.note(f"{titles[stage]}: finished before, not repeated")

            def update(share: float, text: str) -> None:
                current[0](share, text)

            yield start, skip, update

    def _bar(self) -> ProgressBar:
        return _Bar(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            TextColumn("{task.percentage:>3.0f} %"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=self._err,
            transient=True,
        )

    def _lines(self, title: str) -> Progress:
        last = time.monotonic()

        def update(share: float, text: str) -> None:
            nonlocal last
            if time.monotonic() - last >= QUIET_SECONDS:
                last = time.monotonic()
                self.note(f"{title}  {100 * share:3.0f} %  {text}")

        return update


class Silent(Console):
    """That of a process which is not the first of several: what there is to say that one says."""

    def __init__(self) -> None:
        super().__init__(quiet=True)

    def warn(self, text: str) -> None:
        """Nothing."""


def table(headers: Sequence[str], rows: Iterable[Sequence[str]], *, words: Sequence[str] = ()) -> Table:
    """A plain table; columns after the first are aligned to the right when they hold figures and no ``words``."""
    drawn = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    rows = [list(row) for row in rows]
    for place, header in enumerate(headers):
        figures = (
            place > 0
            and header not in words
            and all(row[place][:1].isdigit() or row[place] in {"", "-"} for row in rows)
        )
        drawn.add_column(header, justify="right" if figures else "left", overflow="fold")
    for row in rows:
        drawn.add_row(*map(plain, row))
    return drawn


def percent(share: float) -> str:
    """0.9512 as 95.12 %."""
    return f"{100 * share:.2f} %"


def metric_text(metric: Metric) -> str:
    """A metric with its 95 % interval and the number of samples: ``95.12 % (CI 93.00-96.80, n=360)``."""
    if metric.ci95 is None:
        return metric_value(metric)
    factor, decimals = (100, ".2f") if metric.unit == "share" else (1, ".4g")
    low, high = (f"{factor * bound:{decimals}}" for bound in metric.ci95)
    return f"{metric_value(metric)} (CI {low}-{high}, n={metric.n})"


def printable(text: str) -> str:
    """`plain` line by line: ``text`` may have several."""
    return "\n".join(map(plain, text.split("\n")))


def _escaped(json: str) -> str:
    """``json`` with what is not printable written as JSON writes it, ``\\u009b``: only strings can hold such."""
    return re.sub(r"[^\n -~]", lambda found: found[0] if found[0].isprintable() else _json_escape(found[0]), json)


def _json_escape(character: str) -> str:
    units = character.encode("utf-16-be").hex()
    return "".join(f"\\u{units[place : place + 4]}" for place in range(0, len(units), 4))
