"""What every command has in common: output options, and errors as one line with the right exit code."""

from __future__ import annotations

import errno
import logging
import traceback
from collections.abc import Callable
from typing import Any

import click

from compressor.errors import CompressorError, UsageError


class Failure(click.ClickException):
    """One red line on stderr and the exit code of the error behind it."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.exit_code: int = code  # type: ignore[misc]

    def show(self, file: Any = None) -> None:
        """Print the line, with nothing in it that steers a terminal."""
        from compressor.report.format import plain

        click.echo(f"{click.style('Error:', fg='red', bold=True)} {plain(self.format_message())}", err=True)


class Command(click.Command):
    """A command with ``--json``, ``--quiet`` and ``--debug``, whose callback gets a `Console` first."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.params += [
            click.Option(["--json", "as_json"], is_flag=True, help="Print one JSON document on stdout."),
            click.Option(["--quiet", "-q"], is_flag=True, help="Show warnings and results only, no progress."),
            click.Option(["--debug"], is_flag=True, help="Show a traceback when something fails."),
        ]

    def invoke(self, ctx: click.Context) -> Any:
        """Run the callback; our own errors and the operating system's become one line."""
        from compressor.cli.console import Console, printable
        from compressor.cli.library_messages import passed_to

        # It announces every precision, at any verbosity.
        logging.getLogger("lightning_fabric.utilities.rank_zero").setLevel(logging.WARNING)
        debug = ctx.params.pop("debug")
        ctx.obj = Console(as_json=ctx.params.pop("as_json"), quiet=ctx.params.pop("quiet"))
        try:
            with passed_to(ctx.obj.warn):
                return super().invoke(ctx)
        except (CompressorError, OSError) as error:
            if isinstance(error, OSError) and error.errno == errno.EPIPE:
                raise  # whoever read our output has gone; click ends quietly
            if debug:
                click.echo(printable(traceback.format_exc()), err=True, nl=False)
            raise Failure(_one_line(str(error)), 2 if isinstance(error, UsageError) else 1) from error


def command(name: str) -> Callable[[Callable[..., Any]], click.Command]:
    """Decorate a function ``(console, ...)`` as the command ``name``."""

    def decorate(function: Callable[..., Any]) -> click.Command:
        return click.command(name, cls=Command)(click.pass_obj(function))

    return decorate


def _one_line(text: str) -> str:
    return " ".join(text.split())
