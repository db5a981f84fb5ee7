"""A tiny network with a tiny data set, and the command line in process."""

import os
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from torch.onnx._internal.exporter._registration import onnxscript_apis

FACTORY = '''
from torch import nn


def build(width=16, classes=4):
    """Two convolutions for grey images of 8x8 pixels."""
    network = nn.Sequential(
        nn.Conv2d(1, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU(),
        nn.Conv2d(width, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU(),
        nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(4 * width, classes),
    )
    network.input_shape = (1, 8, 8)
    return network
'''
QUICK = ("--lr", "0.1", "--batch-size", "32", "--seed", "1")


@dataclass(frozen=True)
class Outcome:
    """What a command did."""

    exit_code: int
    stdout: str
    stderr: str

    @property
    def error(self):
        """The lines of stderr that a click usage hint and warnings do not account for."""
        hints = ("Usage:", "Try ", "Warning:")
        return [line for line in self.stderr.splitlines() if line and not line.startswith(hints)]


@dataclass(frozen=True)
class Tiny:
    """Files that commands can be tried on."""

    arch: str
    data: str
    checkpoint: Path
    sparse: Path


def invoke(*args):
    """Run ``compress`` with ``args`` in this process, as on a plain terminal of 120 columns."""
    from compressor.cli import compress as group

    environment = {"COLUMNS": "120", "NO_COLOR": "1", "TERM": "dumb"}
    runner = CliRunner(env=environment)
    result = runner.invoke(group, [str(arg) for arg in args], prog_name="compress", catch_exceptions=False)
    return Outcome(result.exit_code, result.stdout, result.stderr)


@pytest.fixture(scope="session", autouse=True)
def _same_processor():
    """Widths that the processor rewards are those of one without AVX-512, whichever runs the tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("compressor.alignment.channel_block", lambda: 8)
        yield


@pytest.fixture(scope="session", autouse=True)
def _without_waiting():
    """No test is about a power cut, who else works here, or the list of translations that every export makes anew."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("compressor.benchmarking.load.WATCH_SECONDS", 0.05)
        patch.setattr("os.fsync", lambda descriptor: None)
        patch.setattr(onnxscript_apis, "get_torchlib_ops", cache(onnxscript_apis.get_torchlib_ops))
        yield


@pytest.fixture(scope="session")
def compress():
    return invoke


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def quadrants(count=240):
    """Noisy grey images whose class is the bright quadrant."""
    random = np.random.default_rng(0)
    labels = np.arange(count) % 4
    images = random.integers(0, 120, (count, 8, 8), dtype=np.uint8)
    for image, label in zip(images, labels, strict=True):
        row, column = divmod(int(label), 2)
        image[4 * row : 4 * row + 4, 4 * column : 4 * column + 4] += 80
    return images[:, None], labels


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    """A trained network from a user's file, and the same with half of its MACs in zero channels."""
    folder = tmp_path_factory.mktemp("tiny")
    (folder / "net.py").write_text(FACTORY)
    images, labels = quadrants()
    np.savez(folder / "quadrants.npz", x=images, y=labels)
    arch, data = f"{folder / 'net.py'}:build", f"npz:{folder / 'quadrants.npz'}"
    made = Tiny(arch, data, folder / "tiny.pt", folder / "tiny-sparse.pt")
    common = ("--arch", arch, "--data", data, "--normalize", "0.4/0.25", *QUICK, "--quiet")
    trained = invoke("fine-tune", *common, "--epochs", 4, "--out", made.checkpoint)
    assert trained.exit_code == 0, trained.stderr
    pruned = invoke("fine-tune", made.checkpoint, *common, "--epochs", 4, "--target-macs", 0.5, "--out", made.sparse)
    assert pruned.exit_code == 0, pruned.stderr
    return made


@pytest.fixture(scope="session")
def environment():
    """For subprocesses: one thread, because tests run side by side, plain output, and no path of the caller's."""
    return {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "120", "NO_COLOR": "1"}


@pytest.fixture(scope="session")
def left_by_ranks(tmp_path_factory, environment):
    """The folder in which the processes of ``script RANKS FOLDER`` leave what each of them ended with."""

    def left(script, ranks):
        folder = tmp_path_factory.mktemp("ranks")
        command = [sys.executable, script, str(ranks), str(folder)]
        done = subprocess.run(command, check=False, capture_output=True, text=True, env=environment, timeout=300)
        assert done.returncode == 0, done.stderr
        return folder

    return left


RUN = ("--epochs", "2", "--max-seconds", "0.5", *QUICK)


@pytest.fixture(scope="session")
def run_options():
    """The options of the undisturbed run."""
    return RUN


@pytest.fixture(scope="session")
def finished(tiny, tmp_path_factory):
    """The folder of an undisturbed run, and what the command printed."""
    folder = tmp_path_factory.mktemp("runs") / "finished"
    outcome = invoke("run", tiny.checkpoint, "--arch", tiny.arch, *RUN, "--out", folder, "--json", "--quiet")
    assert outcome.exit_code == 0, outcome.stderr
    return folder, outcome
