import subprocess
import sys
import time

import click
import pytest

from compressor.cli import COMMANDS, compress

HEAVY = ("torch", "numpy", "onnx", "onnxruntime", "matplotlib", "lightning_fabric")
PROBE = f"""
import sys
from compressor.cli import main
sys.argv[0] = "compress"
try:
    main()
except SystemExit as end:
    print(sorted(set({HEAVY}) & set(sys.modules)), end.code)
"""


def commands():
    context = click.Context(compress)
    return {name: compress.get_command(context, name) for name in COMMANDS}


@pytest.mark.parametrize("command", [(), *((name,) for name in COMMANDS)])
def test_help_is_quick_because_it_imports_nothing_heavy(command, environment):
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", PROBE, *command, "--help"], capture_output=True, text=True, check=True, env=environment
    )
    assert done.stdout.splitlines()[-1] == "[] 0"
    # A tenth of a second on a quiet machine; importing torch alone takes longer than this.
    assert time.monotonic() - began < 1.5


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_is_explained_in_a_sentence(name):
    for parameter in commands()[name].params:
        if isinstance(parameter, click.Option):
            text = (parameter.help or "").partition("  [default")[0]
            assert text.endswith("."), parameter.name


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_a_first_line_that_fits_the_overview(name):
    assert "..." not in commands()[name].get_short_help_str(limit=66)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_the_output_options(name):
    assert {"as_json", "quiet", "debug"} <= {parameter.name for parameter in commands()[name].params}


def test_options_of_the_same_name_mean_the_same_everywhere():
    free = {"--out", "--epochs", "--overwrite", "--threads", "--seed", "--align", "--max-seconds"}
    meanings = {}
    for command in commands().values():
        for parameter in command.params:
            if isinstance(parameter, click.Option) and not free & set(parameter.opts):
                meanings.setdefault(parameter.opts[0], set()).add((parameter.help, str(parameter.type)))
    assert {option: texts for option, texts in meanings.items() if len(texts) > 1} == {}


def test_the_overview_names_every_command(compress):
    commands()  # importing cli.list must not hide the built-in of that name
    shown = compress("--help").stdout
    for name in COMMANDS:
        assert f"\n  {name} " in shown


def test_the_version_is_that_of_the_package(compress):
    from compressor import __version__

    assert compress("--version").stdout == f"compress, version {__version__}\n"


def test_the_module_runs_like_the_script(environment):
    done = subprocess.run(
        [sys.executable, "-m", "compressor", "--version"], capture_output=True, text=True, check=True, env=environment
    )
    assert done.stdout.startswith("compress, version ")
