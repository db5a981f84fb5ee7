"""The command line ``compress``: one command a file, heavy modules imported inside commands."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Iterator
from importlib import import_module
from typing import Any

import click

from compressor import __version__
from compressor.launcher import has_met

# In the order of the pipeline, which is the order of the help text.
COMMANDS = {
    "run": "compressor.cli.run:run",
    "sweep": "compressor.cli.sweep:sweep",
    "fine-tune": "compressor.cli.fine_tune:fine_tune",
    "shrink": "compressor.cli.shrink:shrink",
    "prune": "compressor.cli.prune:prune",
    "recover": "compressor.cli.recover:recover",
    "export": "compressor.cli.export:export",
    "benchmark": "compressor.cli.benchmark:benchmark",
    "costs": "compressor.cli.costs:costs",
    "compare": "compressor.cli.compare:compare",
    "evaluate": "compressor.cli.evaluate:evaluate",
    "inspect": "compressor.cli.inspect:inspect",
    "list": "compressor.cli.list:list_",
}


class LazyGroup(click.Group):
    """Finds commands by name in `COMMANDS`."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All command names, in the order of the pipeline."""
        return [*COMMANDS]  # the module cli.list may stand where the built-in name was

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the one command that was asked for."""
        if cmd_name not in COMMANDS:
            return None
        module, attribute = COMMANDS[cmd_name].split(":")
        command: click.Command = getattr(import_module(module), attribute)
        return command

    def make_context(self, *args: Any, **options: Any) -> click.Context:
        """Read the arguments before the command's name."""
        from compressor.cli.workers import ARGUMENTS

        given = [*args[1]]
        with _failures():
            context = super().make_context(*args, **options)
            context.meta[ARGUMENTS] = given
            return context

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        from compressor.stopping import signals_as_exceptions

        with _failures(), signals_as_exceptions():
            return super().invoke(ctx)

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        """Suggest the nearest command when there is none of that name."""
        from compressor.errors import UnknownName

        if args and not args[0].startswith("-") and args[0] not in COMMANDS:
            raise click.UsageError(str(UnknownName("command", args[0], COMMANDS)), ctx)
        return super().resolve_command(ctx, args)


@contextlib.contextmanager
def _failures() -> Iterator[None]:
    """Wrong usage is one line, like every other error, and so is being stopped."""
    from compressor.stopping import exit_code, name_of, what_is_kept

    try:
        yield
    except click.exceptions.NoArgsIsHelpError:
        raise  # it is the help
    except click.UsageError as error:
        from compressor.cli.command import Failure

        raise Failure(" ".join(error.format_message().split()), error.exit_code) from error
    except KeyboardInterrupt as stop:
        from compressor.cli.command import Failure

        raise Failure(what_is_kept(stop), exit_code(stop), f"Stopped by {name_of(stop)}") from stop


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="compress")
def compress() -> None:
    """Make trained PyTorch networks smaller and faster.

    \b
      compress run digits_resnet --target-macs 0.5 --out runs/digits

    trains the network on until half of its multiply-accumulates (MACs) are in channels that are exactly zero, removes
    these channels, trains on to win accuracy back, exports ONNX, measures latency and writes a report. Outputs are
    compared before and after removal and export. The other commands are the stages of a run.

    Exit codes: 0 done; 1 the run failed or a target was not met; 2 wrong usage; 130, 143 and 129 stopped by Ctrl-C,
    SIGTERM and SIGHUP, with a line that says what is kept.
    """


def main() -> None:
    """Entry point of the console script."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # as stderr: no figure is lost to a terminal without its sign
    # Waiting threads that spin make training several times slower when other work shares the processors.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    # What torch's C++ tells its makers, of connections that end above all; what fails is an exception.
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    try:
        compress.main(prog_name="compress", args=sys.argv[1:])
    except SystemExit as ended:
        if has_met():
            # Threads of torch's connections that have not ended yet abort an interpreter that ends, now and then.
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(ended.code if isinstance(ended.code, int) else int(ended.code is not None))
        raise
