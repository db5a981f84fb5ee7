"""What every command has in common: output options, and errors as one line with the right exit code."""

from __future__ import annotations

import errno
import logging
import sys
import traceback
from collections.abc import Callable
from contextlib import redirect_stdout
from functools import partial
from pathlib import Path
from typing import Any

import click

from compressor.cli.outputs import written
from compressor.cli.parsing import Parsed, parse_float, parse_integer, parse_size
from compressor.errors import CompressorError, UsageError
from compressor.launcher import Place, forget_fabric, given_place
from compressor.limits import DEFAULT_MEMORY, memory_limit

SIZE = Parsed("size", parse_size)
# In the place of click's own, whose messages repeat a text of any length.
NUMBERS = {click.INT: Parsed("integer", parse_integer), click.FLOAT: Parsed("float", parse_float)}


class Failure(click.ClickException):
    """One red line on stderr and the exit code of the error behind it."""

    def __init__(self, message: str, code: int, title: str = "Error") -> None:
        super().__init__(message)
        self.exit_code: int = code  # type: ignore[misc]
        self.title = title

    def show(self, file: Any = None) -> None:
        """Print the line, with nothing in it that steers a terminal."""
        from compressor.report.format import plain

        click.echo(f"{click.style(f'{self.title}:', fg='red', bold=True)} {plain(self.format_message())}", err=True)


class Command(click.Command):
    """A command with ``--json``, ``--quiet`` and ``--debug``, whose callback gets a `Console` first."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.params += [
            click.Option(["--json", "as_json"], is_flag=True, help="Print one JSON document on stdout."),
            click.Option(["--quiet", "-q"], is_flag=True, help="Show warnings and results only, no progress."),
            click.Option(
                ["--max-memory"],
                type=SIZE,
                metavar="SIZE",
                help="What a file may ask for beyond its own size, for example 8GB.  [default: 3GiB]",
            ),
            click.Option(["--debug"], is_flag=True, help="Show a traceback when something fails."),
        ]
        for param in self.params:
            param.type = NUMBERS.get(param.type, param.type)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the callback; our own errors, the operating system's and an exit of foreign code become one line."""
        from compressor.cli.console import Console, Silent, printable
        from compressor.cli.library_messages import passed_to

        # They announce every precision and process, at any verbosity.
        for name in ("rank_zero", "distributed"):
            logging.getLogger(f"lightning_fabric.utilities.{name}").setLevel(logging.WARNING)
        forget_fabric()
        debug = ctx.params.pop("debug")
        ctx.obj = Console(as_json=ctx.params.pop("as_json"), quiet=ctx.params.pop("quiet"))
        limit = ctx.params.pop("max_memory") or DEFAULT_MEMORY
        work = super().invoke
        try:
            place = given_place()
            if place is not None and place.rank > 0:
                ctx.obj, work = Silent(), partial(_follow, place)
            # What a network prints is no result.
            with memory_limit(limit), redirect_stdout(sys.stderr), passed_to(ctx.obj.warn):
                return work(ctx)
        except KeyboardInterrupt as stop:
            if not hasattr(stop, "__notes__"):
                stop.add_note(written(ctx))
            raise
        except (CompressorError, OSError, SystemExit) as error:
            if isinstance(error, OSError) and error.errno == errno.EPIPE:
                raise  # whoever read our output has gone; click ends quietly
            if debug:
                click.echo(printable(traceback.format_exc()), err=True, nl=False)
            message = _exit(error) if isinstance(error, SystemExit) else str(error)
            # Who knows what is kept adds it as a note.
            lines = [message, *getattr(error, "__notes__", [])]
            raise Failure("; ".join(map(_one_line, lines)), 2 if isinstance(error, UsageError) else 1) from error


def _follow(place: Place, ctx: click.Context) -> None:
    """Of several processes the first one runs the command, and where it trains the others help."""
    if "devices" in ctx.params:
        from compressor.cli.following import follow

        follow(ctx.obj, place, ctx.params)


def command(name: str) -> Callable[[Callable[..., Any]], click.Command]:
    """Decorate a function ``(console, ...)`` as the command ``name``."""

    def decorate(function: Callable[..., Any]) -> click.Command:
        return click.command(name, cls=Command)(click.pass_obj(function))

    return decorate


def _exit(error: SystemExit) -> str:
    """Click ends commands in another way, so this was code of the network or of a file beside it."""
    where = traceback.extract_tb(error.__traceback__)[-1]
    return (
        f"{Path(where.filename).name}, line {where.lineno}, ended the program (SystemExit: {error.code}); "
        "the code of a network must return or raise an error"
    )


def _one_line(text: str) -> str:
    return " ".join(text.split())
