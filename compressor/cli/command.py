"""What every command has in common: output options, and errors as one line with the right exit code."""

from __future__ import annotations

import errno
import logging
import sys
import traceback
from collections.abc import Callable
from contextlib import redirect_stdout
from typing import Any

import click

from compressor.cli.parsing import Parsed, parse_float, parse_integer, parse_size
from compressor.errors import CompressorError, UsageError
from compressor.limits import DEFAULT_MEMORY, memory_limit

SIZE = Parsed("size", parse_size)
# In the place of click's own, whose messages repeat a text of any length.
NUMBERS = {click.INT: Parsed("integer", parse_integer), click.FLOAT: Parsed("float", parse_float)}


class Failure(click.ClickException):
    """One red line on stderr and the exit code of the error behind it."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.exit_code: int = code  # type: ignore[misc]

    def show(self, file: Any = None) -> None:
        """Print the line."""
        click.echo(f"{click.style('Error:', fg='red', bold=True)} {self.format_message()}", err=True)


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
        """Run the callback; our own errors and the operating system's become one line."""
        from compressor.cli.console import Console

        # It announces every precision, at any verbosity.
        logging.getLogger("lightning_fabric.utilities.rank_zero").setLevel(logging.WARNING)
        debug = ctx.params.pop("debug")
        ctx.obj = Console(as_json=ctx.params.pop("as_json"), quiet=ctx.params.pop("quiet"))
        limit = ctx.params.pop("max_memory") or DEFAULT_MEMORY
        try:
            # What a network prints is no result.
            with memory_limit(limit), redirect_stdout(sys.stderr):
                return super().invoke(ctx)
        except (CompressorError, OSError) as error:
            if isinstance(error, OSError) and error.errno == errno.EPIPE:
                raise  # whoever read our output has gone; click ends quietly
            if debug:
                click.echo(traceback.format_exc(), err=True, nl=False)
            raise Failure(_one_line(str(error)), 2 if isinstance(error, UsageError) else 1) from error


def command(name: str) -> Callable[[Callable[..., Any]], click.Command]:
    """Decorate a function ``(console, ...)`` as the command ``name``."""

    def decorate(function: Callable[..., Any]) -> click.Command:
        return click.command(name, cls=Command)(click.pass_obj(function))

    return decorate


def _one_line(text: str) -> str:
    return " ".join(text.split())
