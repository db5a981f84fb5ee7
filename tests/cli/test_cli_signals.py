"""Being stopped: one line that says what is kept, the exit code of shells, and nothing left behind."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from compressor.errors import CompressorError
from compressor.stopping import signals_as_exceptions

CODES = {"SIGINT": ("Ctrl-C", 130), "SIGTERM": ("SIGTERM", 143), "SIGHUP": ("SIGHUP", 129)}
every_signal = pytest.mark.parametrize("name", CODES)


@pytest.fixture(autouse=True)
def signals_arrive():
    """A shell starts what it runs in the background with Ctrl-C ignored, nohup with SIGHUP: so would these tests be."""
    usual = {signal.SIGINT: signal.default_int_handler, signal.SIGHUP: signal.SIG_DFL}
    before = {number: signal.signal(number, handler) for number, handler in usual.items()}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def stop_by(name):
    """Be stopped in the midst of work, as by somebody else."""

    def work(*args, **options):
        os.kill(os.getpid(), getattr(signal, name))
        time.sleep(5)
        raise AssertionError("the signal did not arrive")

    return work


@every_signal
def test_a_command_that_is_stopped_says_so_and_leaves_nothing(compress, tiny, monkeypatch, name):
    monkeypatch.setattr("compressor.stages.fine_tune.train", stop_by(name))
    done = compress("fine-tune", tiny.checkpoint, "--arch", tiny.arch, "--out", "a/b.pt")
    title, code = CODES[name]
    assert (done.exit_code, done.stdout) == (code, "")
    assert done.error == [f"Stopped by {title}: nothing was written; the same command starts again"]
    assert not list(Path().iterdir())


@every_signal
def test_a_run_that_is_stopped_says_what_is_finished(compress, tiny, run_options, monkeypatch, name):
    monkeypatch.setattr("compressor.pipeline.run_stages.fine_tune", stop_by(name))
    done = compress("run", tiny.checkpoint, "--arch", tiny.arch, *run_options, "--out", "r", "--quiet")
    title, code = CODES[name]
    assert done.exit_code == code
    assert done.error == [f"Stopped by {title}: dense finished in r; the same command goes on"]


def test_who_knows_what_is_kept_has_the_word(compress, tiny, monkeypatch):
    def train(*args, **options):
        stop = KeyboardInterrupt()
        stop.add_note("epoch 3 is kept in a.training;\nthe same command goes on")
        raise stop

    monkeypatch.setattr("compressor.stages.fine_tune.train", train)
    done = compress("fine-tune", tiny.checkpoint, "--arch", tiny.arch, "--out", "a.pt")
    assert done.error == ["Stopped by Ctrl-C: epoch 3 is kept in a.training; the same command goes on"]


def test_an_error_says_what_is_kept_too(compress, tiny, monkeypatch):
    def train(*args, **options):
        error = CompressorError("the disk is full")
        error.add_note("epoch 3 is kept in a.training")
        raise error

    monkeypatch.setattr("compressor.stages.fine_tune.train", train)
    done = compress("fine-tune", tiny.checkpoint, "--arch", tiny.arch, "--out", "a.pt")
    assert (done.exit_code, done.error) == (1, ["Error: the disk is full; epoch 3 is kept in a.training"])


def test_what_was_written_before_the_stop_is_told(compress, tiny, monkeypatch):
    monkeypatch.setattr("compressor.cli.publishing.wrote", stop_by("SIGTERM"))
    done = compress("shrink", tiny.sparse, "--trust-arch", "--out", "a.pt")
    assert (done.exit_code, done.error) == (143, ["Stopped by SIGTERM: a.pt was written"])


def test_before_a_command_is_found_a_stop_is_one_line_too(compress, monkeypatch):
    monkeypatch.setattr("compressor.cli.import_module", stop_by("SIGTERM"))
    done = compress("list", "methods")
    assert (done.exit_code, done.error) == (143, ["Stopped by SIGTERM: nothing was written"])


def test_signals_do_afterwards_what_they_did_before():
    def mine(number, frame):
        pass

    before = signal.signal(signal.SIGHUP, mine), signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        with signals_as_exceptions():
            assert signal.getsignal(signal.SIGHUP) is mine
            assert signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    finally:
        signal.signal(signal.SIGHUP, before[0])
        signal.signal(signal.SIGTERM, before[1])


def test_a_hang_up_that_is_ignored_stays_ignored():
    """As under nohup."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with signals_as_exceptions():
            os.kill(os.getpid(), signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)


def children_of(pid):
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()


def running(pid):
    """Whether there is such a process that has not ended; one that nobody has asked about yet has."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def wait_until(happened, seconds=60):
    until = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < until
        time.sleep(0.05)


def test_a_benchmark_that_is_terminated_leaves_no_process_and_no_file(finished, environment, tmp_path):
    line = ["benchmark", str(finished[0] / "small.onnx"), "--max-seconds", "600", "--out", "a.json"]
    (tmp_path / "temporary").mkdir()
    process = subprocess.Popen(
        [sys.executable, "-m", "compressor", *line],
        stderr=subprocess.PIPE,
        text=True,
        env={**environment, "TMPDIR": str(tmp_path / "temporary")},
    )
    wait_until(lambda: bool(children_of(process.pid)))
    workers = children_of(process.pid)
    process.terminate()
    _, told = process.communicate(timeout=60)
    assert process.returncode == 143
    assert told == "Stopped by SIGTERM: nothing was written; the same command starts again\n"
    # Not at once when the stop comes before its parent knows it: then it goes when its input ends.
    wait_until(lambda: not running(workers[0]))
    # .ses is ONNX Runtime's own.
    assert {path.name for path in tmp_path.rglob("*")} <= {"temporary", ".ses"}


EXITS = """
import sys
from torch import nn

class Net(nn.Module):
    input_shape = (1, 8, 8)

    def __init__(self):
        super().__init__()
        self.last = nn.Linear(64, 4)

    def forward(self, x):
        sys.exit({code})
"""


@pytest.mark.parametrize("code", ["0", "", "3", "'bye'"])
@pytest.mark.parametrize("command", ["inspect", "fine-tune"])
def test_a_network_that_ends_the_program_is_an_error(compress, tiny, code, command):
    Path("net.py").write_text(EXITS.format(code=code))
    out = ("--out", "a.pt", "--data", tiny.data) if command == "fine-tune" else ()
    done = compress(command, "--arch", "net.py:Net", *out)
    assert done.exit_code == 1
    shown = {"": "None", "'bye'": "bye"}.get(code, code)
    assert done.error == [
        f"Error: net.py, line 13, ended the program (SystemExit: {shown}); "
        "the code of a network must return or raise an error"
    ]
    assert not Path("a.pt").exists()
