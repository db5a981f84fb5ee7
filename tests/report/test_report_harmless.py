"""Whatever a file holds as text: what is printed of it steers no terminal and hides nothing."""

from __future__ import annotations

import io
import json
import re
from dataclasses import replace
from typing import Any

import click
import msgspec
import onnx
import pytest
import report_documents as documents
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from compressor.checkpoints import load, save
from compressor.cli import console as module
from compressor.cli.command import Failure
from compressor.cli.console import Console, HarmlessConsole, table
from compressor.cli.publishing import show
from compressor.codec import decode_report, encode
from compressor.report.benchmark_tables import latency_table
from compressor.report.format import plain
from compressor.report.html import report_html
from compressor.report.markdown import escape, report_markdown
from compressor.report.run_tables import stage_table
from compressor.report.side_by_side import compare_reports, comparison_table
from compressor.report.terminal import FittedTable

NASTY = (
    *("\x1b[2J", "\x1b]0;owned\x07", "\x9b31m", "\x90q\x9c", "\x1b[1A\x1b[2K", "\r", "\x08\x08", "\x7f", "\x00"),
    *("\u202eevil", "\u2066a", "\u200b", "\u2028", "\u2029", "\ufeff", "a\nb", "\x0b\x0c\x1c\x1e\x85"),
    *("[red]x[/]", ":warning:", "\\", "\ud800"),
)
# Text from a file: anything at all, with what steers terminals more often than by chance.
TEXT = st.lists(st.sampled_from(NASTY) | st.text(st.characters(), max_size=8), max_size=4).map("".join)
WRITABLE = TEXT.map(lambda text: text.encode(errors="replace").decode())
OWN_CODES = re.compile(r"\x1b\[(\d+;)*\d*m|\x1b\[(2K|1A|\?25[hl])|\r")
some = settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def steers(printed: str) -> list[str]:
    """The characters of plain output that are neither printable nor ends of lines."""
    return [character for character in printed if character != "\n" and not character.isprintable()]


KEPT = {"kind", "verdict", "direction", "sha256", "unit"}


def full_of(text: str, value: Any) -> Any:
    """Plain ``value`` with ``text`` in all its fields that may hold any."""
    match value:
        case dict():
            return {key: item if key in KEPT else full_of(text, item) for key, item in value.items()}
        case list():
            return [full_of(text, item) for item in value]
        case str():
            return text
    return value


def report_full_of(text: str, report: Any) -> Any:
    return decode_report(encode(full_of(text, json.loads(encode(report)))), "report")


@given(TEXT)
@example("".join(NASTY))
def test_plain_text_is_one_printable_line(text: str) -> None:
    assert plain(text).isprintable()
    if text.isprintable():
        assert plain(text) == text


@given(TEXT)
@example("\x1b[2J\u202e\ud800\U000e0001")
def test_what_cannot_be_printed_shows_as_an_escape(text: str) -> None:
    hidden = [character for character in text if not character.isprintable() and not character.isspace()]
    assert all(ascii(character)[1:-1] in plain(text) for character in hidden)


@pytest.fixture(params=[False, True], ids=["pipe", "terminal"])
def screen(request, monkeypatch):
    """A console, and a function that gives what was printed on both streams without rich's own codes."""
    console, files = Console(), {"_out": io.StringIO(), "_err": io.StringIO()}
    for name, file in files.items():
        drawn = HarmlessConsole(
            file=file, force_terminal=request.param, width=100, color_system="truecolor" if request.param else None
        )
        monkeypatch.setattr(console, name, drawn)

    def printed() -> str:
        text = "".join(file.getvalue() for file in files.values())
        for file in files.values():
            file.seek(0)
            file.truncate()
        return OWN_CODES.sub("", text) if request.param else text

    return console, printed


@some
@given(text=TEXT)
@example(text="".join(NASTY))
def test_no_way_of_printing_lets_it_through(screen, text: str) -> None:
    console, printed = screen
    console.warn(text)
    console.note(text)
    console.result({}, text, table((text, "b"), [(text, text)]), module.Text(text), f"{text}\n{text}")
    with console.progress(text) as update:
        update(0.5, text)
    with console.stages({text: text}) as (start, skip, update):
        skip(text)
        start(text)
        update(0.5, text)
    output = printed()
    assert steers(output) == []
    assert plain(text)[:4] in output.replace("\n", " ") or not text


@some
@given(text=WRITABLE)
@example(text="".join(NASTY[:-1]))
def test_no_field_of_a_report_steers_the_terminal(screen, text: str) -> None:
    console, printed = screen
    run = report_full_of(text, documents.run())
    assert run.benchmark is not None
    show(console, run, stage_table(run))
    show(console, run.benchmark, latency_table(run.benchmark))
    both = compare_reports([(text, run), (text, run.benchmark)])
    console.result(both, FittedTable(comparison_table(both)))
    assert steers(printed()) == []


@settings(max_examples=4, deadline=None)
@given(WRITABLE)
@example("".join(NASTY[:-1]) + "<script>alert(1)</script>[x](http://e.vil)www.e.vil")
def test_no_field_of_a_report_steers_a_page(text: str) -> None:
    run = report_full_of(text, documents.run())
    for page in (report_html(run), report_markdown(run)):
        assert steers(page.replace("\u00a0", " ")) == []
        assert "<script>" not in page
    assert "http://" not in page
    assert "www.e" not in page


@given(st.dictionaries(TEXT, TEXT, max_size=3))
@example({"\x9b31m": "\u202e\x7f\U000e0001"})
def test_json_is_printed_with_escapes_and_reads_the_same(values: dict[str, str]) -> None:
    shown = module._escaped(encode(values).decode())
    assert steers(shown) == []
    writable = {key.encode(errors="backslashreplace"): value for key, value in values.items()}
    assert json.loads(shown) == {
        key.decode(): value.encode(errors="backslashreplace").decode() for key, value in writable.items()
    }


@given(TEXT)
def test_errors_are_one_printable_line(text: str) -> None:
    shown = io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(click, "echo", lambda line, err: shown.write(click.unstyle(line[:21]) + line[21:]))
        Failure(text, 1).show()
    assert shown.getvalue().removeprefix("Error: ").isprintable()


@pytest.mark.parametrize("text", ["\x1b[2Jx", "\x9b31m", "a\u202eb", "\udcff"])
def test_arguments_are_not_echoed_as_they_are(compress, text: str) -> None:
    for arguments in (
        (f"--{text}",),
        (text,),
        ("compare", text, text),
        ("compare", "a", "b", "--max-drop", text),
        ("inspect", f"{text}.pt", "--arch", text),
        ("evaluate", f"{text}.onnx", "--data", text),
        ("benchmark", f"{text}.onnx"),
        ("list", text),
        ("run", text, f"--{text}"),
    ):
        done = compress(*arguments)
        assert done.exit_code in (1, 2)
        assert steers(done.stdout + done.stderr) == []


def nasty_onnx(path: str, text: str) -> None:
    nodes = [helper.make_node("Flatten", [text + "in"], [text + "f"], name=text)]
    nodes += [helper.make_node("MatMul", [text + "f", text + "w"], [text + "out"], name=text + "2")]
    weight = helper.make_tensor(text + "w", TensorProto.FLOAT, (64, 4), [0.1] * 256)
    graph = helper.make_graph(
        nodes,
        text,
        [helper.make_tensor_value_info(text + "in", TensorProto.FLOAT, ("N", 1, 8, 8))],
        [helper.make_tensor_value_info(text + "out", TensorProto.FLOAT, ("N", 4))],
        [weight],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10, producer_name=text)
    helper.set_model_props(model, {"compressor.classes": json.dumps([text, text + "b", "c", "d"]), text: text})
    onnx.save(model, path)


@pytest.mark.parametrize("text", ["\x1b[2Jx\x07\x9b31m\u202e"])
def test_names_in_an_onnx_file_steer_nothing(tiny, compress, text: str) -> None:
    nasty_onnx("nasty.onnx", text)
    done = compress("evaluate", "nasty.onnx", "--data", tiny.data, "--normalize", "none")
    assert "the network's classes" in done.stderr
    timed = compress("benchmark", "nasty.onnx", "--max-seconds", 0.2)
    assert (done.exit_code, timed.exit_code) == (0, 0)
    assert steers(done.stdout + done.stderr + timed.stdout + timed.stderr) == []


@pytest.mark.parametrize("text", ["\x1b[2Jx\x07\x9b31m\u202e"])
def test_names_in_a_checkpoint_steer_nothing(tiny, compress, text: str) -> None:
    network = load(tiny.checkpoint, trust_arch=True)
    known = network.metadata
    history = ({"stage": text, text: text},)
    named = replace(known, classes=(text, "b", "c", "d"), history=history, data=replace(known.data, ref=f"npz:{text}"))
    save(replace(network, metadata=named), "nasty.pt")
    printed = ""
    for arguments in (
        ("inspect", "nasty.pt"),
        ("inspect", "nasty.pt", "--json"),
        ("evaluate", "nasty.pt"),
        ("evaluate", "nasty.pt", "--data", tiny.data),
        ("export", "nasty.pt"),
        ("shrink", "nasty.pt"),
    ):
        done = compress(*arguments, "--trust-arch", "--debug")
        printed += done.stdout + done.stderr
    assert "the network's classes" in printed
    assert steers(printed) == []


def test_a_file_whose_name_is_not_utf8_is_named_all_the_same(tiny, compress, tmp_path) -> None:
    name = b"caf\xe9.pt".decode(errors="surrogateescape")
    (tmp_path / name).write_bytes(tiny.checkpoint.read_bytes())
    done = compress("evaluate", name, "--trust-arch", "--data", tiny.data, "--json")
    assert done.exit_code == 0, done.stderr
    assert json.loads(done.stdout)["model"] == r"caf\udce9.pt"
    assert msgspec.json.decode(encode({"name": name})) == {"name": r"caf\udce9.pt"}


def test_markdown_holds_no_links(tmp_path) -> None:
    assert escape("[x](http://a.b) www.a.b <a> a|b @me") == (r"\[x\](http\://a.b) www\.a.b &lt;a&gt; a\|b \@me")
