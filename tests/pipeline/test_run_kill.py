"""A run that is killed in any stage leaves no broken file, and ends with the numbers of an undisturbed one."""

import hashlib
import json
import signal
import subprocess
import sys
from pathlib import Path

import onnx
import pytest
import torch

from compressor.stages import TITLES

pytestmark = pytest.mark.slow

STAGES = tuple(TITLES)
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


def kill_in(stage, command, environment):
    """Start the command and kill it, without a chance to tidy up, once ``stage`` is announced."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=environment)
    for line in process.stderr:
        if line.startswith(TITLES[stage]):
            break
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL


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


def fingerprint(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("stage", STAGES)
def test_a_kill_changes_nothing(stage, command, environment, undisturbed):
    kill_in(stage, command, environment)
    check_files(Path("r"))
    resumed = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    check_files(Path("r"))
    assert not list(Path("r").rglob("*.part"))
    assert resumed.stderr.count("not repeated") >= STAGES.index(stage)
    assert figures(Path("r")) == figures(undisturbed)
    for name in ("recovered.pt", "small.onnx"):
        assert fingerprint(Path("r") / name) == fingerprint(undisturbed / name)
