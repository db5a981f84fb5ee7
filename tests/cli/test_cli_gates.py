"""A run's own gates, a dense network that guesses, and warnings in the report."""

import json
import logging
import shutil
import warnings
from pathlib import Path

import pytest

from compressor.checkpoints import load
from compressor.codec import read_report
from compressor.errors import CompressorError, CompressorWarning
from compressor.pipeline import run_stages
from compressor.stages import inspect as stage


@pytest.fixture
def again(finished, tiny, compress, run_options):
    """The command of the finished run, on a copy of its folder, with more options."""
    shutil.copytree(finished[0], "again")
    command = ("run", tiny.checkpoint, "--arch", tiny.arch, *run_options, "--out", "again", "--quiet")
    return lambda *more: compress(*command, *more)


def test_a_finished_run_is_held_to_new_gates(again):
    done = again("--max-drop", 10, "--min-speedup", 0.01)
    assert (done.exit_code, done.error) == (0, [])
    shown = " ".join(done.stdout.split())
    assert "Gate --max-drop 10 holds: accuracy changed by" in shown
    assert "Gate --min-speedup 0.01 holds: small against dense, batch 1:" in shown
    assert [gate.holds for gate in read_report(Path("again/report.json")).gates] == [True, True]


def test_a_gate_that_does_not_hold_keeps_everything_and_is_exit_code_1(again):
    done = again("--max-drop", 0.01, "--json")
    assert (done.exit_code, len(done.error)) == (1, 1)
    assert "with the same 48 samples" in done.error[0]
    (gate,) = json.loads(done.stdout)["gates"]
    assert (gate["name"], gate["holds"]) == ("max-drop", False)
    assert gate["measured"] in done.error[0]
    assert "Gates" in Path("again/report.html").read_text()
    assert "| --max-drop | 0.01 | 🔴 no |" in Path("again/report.md").read_text()
    assert Path("again/small.onnx").exists()


def test_gates_are_not_part_of_what_a_run_is(again, finished):
    again("--max-drop", 10)
    assert again().exit_code == 0
    assert read_report(Path("again/report.json")) == read_report(finished[0] / "report.json")


@pytest.fixture
def guessing(tiny, compress, run_options):
    """A run whose inputs are all but black, as by a forgotten --normalize."""
    command = ("run", tiny.checkpoint, "--arch", tiny.arch, *run_options, "--normalize", "0/1000", "--quiet")
    return lambda *more: compress(*command, "--out", "guessing", *more)


def test_a_dense_network_that_guesses_ends_the_run(guessing):
    done = guessing()
    assert (done.exit_code, len(done.error)) == (1, 1)
    assert "Error: the network is no better than guessing: it is right on" in done.error[0]
    assert "of 48 test images, and always naming the most frequent of 4 classes would be on" in done.error[0]
    assert "the likely cause is --normalize (now 0.0/1000.0), the order of --classes, or --arch;" in done.error[0]
    assert not Path("guessing/dense.pt").exists()


def test_the_user_may_compress_a_network_that_guesses(guessing, monkeypatch):
    def next_stage(*args, **options):
        raise CompressorError("it goes on")

    monkeypatch.setattr(run_stages, "fine_tune", next_stage)
    assert guessing("--allow-chance").error == ["Error: it goes on"]


def test_fine_tune_warns_of_a_network_that_guesses_and_not_of_random_weights(tiny, compress):
    common = ("--arch", tiny.arch, "--data", tiny.data, "--epochs", 1, "--max-train", 32, "--quiet")
    done = compress("fine-tune", tiny.checkpoint, *common, "--normalize", "0/1000", "--out", "a.pt")
    assert done.exit_code == 0
    assert "Warning: the network is no better than guessing" in done.stderr
    assert compress("fine-tune", tiny.checkpoint, *common, "--out", "b.pt").stderr == ""
    assert compress("fine-tune", *common, "--normalize", "0.4/0.25", "--out", "c.pt").stderr == ""


def warnings_of(done):
    return [line.removeprefix("Warning: ") for line in done.stderr.splitlines()]


def test_every_warning_of_a_run_is_in_its_report_also_of_stages_done_before(again, finished, monkeypatch):
    measured = read_report(finished[0] / "report.json").benchmark

    def warned(*args, **options):
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            warnings.warn("odd \x1b[2J", CompressorWarning, stacklevel=1)
        return measured

    Path("again/stages/benchmark.json").unlink()
    Path("names.txt").write_text("north\neast\nsouth\nwest\n")
    monkeypatch.setattr(run_stages, "benchmark", warned)
    first = again("--classes", "names.txt")
    assert first.exit_code == 0, first.stderr
    assert first.stderr.count(r"Warning: odd \x1b[2J") == 1
    assert first.stderr.count("Warning: the network's classes (north, east, south and 1 more) are not those of") == 1
    kept = read_report(Path("again/report.json")).warnings
    assert sorted(kept) == sorted(warnings_of(first))
    for name in ("again/report.html", "again/report.md"):
        assert "north, east, south" in Path(name).read_text()
    assert sorted(warnings_of(again("--classes", "names.txt"))) == sorted(kept)


def test_warnings_and_log_lines_of_libraries_are_lines_of_ours(tiny, compress, monkeypatch):
    def loud(*args, **options):
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            warnings.warn("of a \x1b[2Jclass\nin two lines", UserWarning, stacklevel=1)
        logger = logging.Logger("library")
        logger.warning("logged %s", "\x9b31m")
        return found

    found = stage.inspect(load(tiny.checkpoint, trust_arch=True))
    monkeypatch.setattr(stage, "inspect", loud)
    done = compress("inspect", tiny.checkpoint, "--trust-arch", "--quiet")
    assert done.stderr.splitlines() == [
        r"Warning: UserWarning: of a \x1b[2Jclass in two lines",
        r"Warning: UserWarning: logged \x9b31m",
    ]
