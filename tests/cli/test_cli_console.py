import io
import json

import pytest

from compressor.cli import console as module
from compressor.cli.console import Console, HarmlessConsole
from compressor.report.again import Copyable


def test_json_is_all_that_json_prints(capsys):
    console = Console(as_json=True)
    console.result({"a": "ü"}, "for people")
    console.note("working")
    captured = capsys.readouterr()
    assert json.loads(captured.out) == {"a": "ü"}
    assert captured.err == "working\n"


def test_quiet_hides_notes_and_no_warnings(capsys):
    console = Console(quiet=True)
    console.note("working")
    console.warn("careful")
    with console.progress("train") as update:
        update(0.5, "loss 1")
    assert capsys.readouterr().err == "Warning: careful\n"


def test_text_of_the_user_is_no_markup(capsys):
    console = Console()
    console.warn("[red]name[/red]")
    console.note("[/]")
    assert capsys.readouterr().err == "Warning: [red]name[/red]\n[/]\n"


def test_results_hold_the_users_text_as_it_is(capsys):
    Console().result({}, "runs/[bold]x[/bold].pt: done")
    assert capsys.readouterr().out == "runs/[bold]x[/bold].pt: done\n"


def test_a_log_gets_a_line_of_progress_now_and_then(capsys, monkeypatch):
    monkeypatch.setattr(module, "QUIET_SECONDS", 0.0)
    with Console().progress("train") as update:
        update(0.25, "loss 1.0")
    assert capsys.readouterr().err == "train   25 %  loss 1.0\n"


def test_a_log_is_not_flooded(capsys):
    with Console().progress("train") as update:
        for _ in range(100):
            update(0.25, "loss 1.0")
    assert capsys.readouterr().err == ""


@pytest.fixture
def terminal(monkeypatch):
    """A console whose stderr is a terminal that keeps what was written."""
    found, screen = Console(), io.StringIO()
    monkeypatch.setattr(found, "_err", HarmlessConsole(file=screen, force_terminal=True, width=120, no_color=True))
    return found, screen


def test_a_terminal_gets_a_bar_with_the_figures(terminal):
    console, screen = terminal
    with console.progress("train") as update:
        update(0.5, "loss [1.0]")
    assert "50 %" in screen.getvalue()
    assert "loss [1.0]" in screen.getvalue()


def test_a_command_to_copy_is_not_broken(monkeypatch):
    console, screen = Console(), io.StringIO()
    monkeypatch.setattr(console, "_out", HarmlessConsole(file=screen, force_terminal=True, width=20, no_color=True))
    console.result({}, Copyable("  compress evaluate runs/digits/small.onnx"), "words that may be broken by us")
    assert screen.getvalue().splitlines()[0] == "  compress evaluate runs/digits/small.onnx"
    assert len(screen.getvalue().splitlines()) == 3


def test_the_figures_squeeze_neither_bar_nor_times(monkeypatch):
    console, screen = Console(), io.StringIO()
    monkeypatch.setattr(console, "_err", HarmlessConsole(file=screen, force_terminal=True, width=80, no_color=True))
    figures = "epoch 12/50  loss 0.947  accuracy 77.1 %  MACs kept 49 %"
    with console.progress("  fine-tune") as update:
        update(0.5, figures)
    lines = [line.rstrip() for line in screen.getvalue().replace("\r", "\n").splitlines()]
    assert f"    {figures}" in lines
    assert any("━" * 12 in line and " 50 % 0:00:0" in line and "…" not in line for line in lines)


def test_stages_are_announced_one_after_the_other(capsys):
    with Console().stages({"a": "Doing a", "b": "Doing b"}) as (start, skip, update):
        skip("a")
        start("b")
        update(0.5, "half")
    assert capsys.readouterr().err == "Doing a: finished before, not repeated\nDoing b\n"


def test_nothing_that_is_printed_can_steer_the_terminal(capsys):
    console, nasty = Console(), "a\x1b[2Jb\x9bc"
    console.warn(nasty)
    console.note(nasty)
    console.result({}, f"{nasty}\nnext")
    captured = capsys.readouterr()
    assert captured.err == "Warning: a\\x1b[2Jb\\x9bc\na\\x1b[2Jb\\x9bc\n"
    assert captured.out == "a\\x1b[2Jb\\x9bc\nnext\n"
