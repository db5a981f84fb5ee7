"""A run that is stopped in any stage leaves no broken file, and ends with the files of an undisturbed one.

Signals at random moments are in `fuzz.kills`.
"""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import onnx
import pytest
import torch

from compressor.stages import TITLES

pytestmark = pytest.mark.slow

STAGES = tuple(TITLES)
EXACT = {".pt", ".onnx", ".safetensors"}
TIMINGS = ("benchmark", "started", "duration_s", "warnings")


@pytest.fixture(scope="module")
def command(tiny, run_options):
    arch = ("--arch", tiny.arch)
    return [sys.executable, "-m", "compressor", "run", str(tiny.checkpoint), *arch, *run_options, "--out", "r"]


@pytest.fixture(scope="module")
def undisturbed(command, environment, tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed")
    subprocess.run(command, check=True, capture_output=True, env=environment, cwd=folder)
    return folder / "r"


def stop_in(stage, command, environment, number):
    """Start the command and send it a signal once ``stage`` is announced; its exit code and its last words.

    Nothing of its session is left.
    """
    process = subprocess.Popen(
        command,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        start_new_session=True,
        # A shell starts its background processes without Ctrl-C.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    for line in process.stderr:
        if line.startswith(TITLES[stage]):
            break
    process.send_signal(number)
    _, words = process.communicate()
    require_gone(process.pid)
    return process.returncode, words


def require_gone(session, patience=10.0):
    """A worker notices within this time that whoever started it is dead."""
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        try:
            os.killpg(session, 0)
        except ProcessLookupError:
            return
        time.sleep(0.02)
    os.killpg(session, signal.SIGKILL)
    pytest.fail("a process is left behind")


def check_files(folder):
    for path in folder.rglob("*.pt"):
        torch.load(path, weights_only=True)
    for path in folder.rglob("*.onnx"):
        onnx.checker.check_model(onnx.load(path), full_check=True)
    for path in folder.rglob("*.json"):
        json.loads(path.read_text())


def read(folder):
    return json.loads((folder / "report.json").read_text())


def figures(folder):
    return {key: value for key, value in read(folder).items() if key not in TIMINGS}


def fingerprints(folder):
    """The names of all files, and the content of those that hold no times."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() if path.suffix in EXACT else None
        for path in folder.rglob("*")
    }


def check_resumes(command, environment, undisturbed, *, finished):
    check_files(Path("r"))
    resumed = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    assert resumed.stderr.count("not repeated") >= finished
    assert figures(Path("r")) == figures(undisturbed)
    assert fingerprints(Path("r")) == fingerprints(undisturbed)


@pytest.mark.parametrize("stage", STAGES)
def test_a_kill_changes_nothing(stage, command, environment, undisturbed):
    code, _ = stop_in(stage, command, environment, signal.SIGKILL)
    assert code == -signal.SIGKILL
    check_resumes(command, environment, undisturbed, finished=STAGES.index(stage))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("stage", ["fine-tune", "benchmark"])
def test_a_request_to_stop_is_answered_in_one_line(stage, number, command, environment, undisturbed):
    code, words = stop_in(stage, command, environment, number)
    assert code == 128 + number
    assert sum("Stopped by" in line for line in words.splitlines()) == 1
    assert "Traceback" not in words
    check_resumes(command, environment, undisturbed, finished=STAGES.index(stage))
