"""Two runs in one folder: exactly one works, whoever they are; and a folder that vanishes under a run ends it."""

import hashlib
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from compressor.checkpoints import load
from compressor.data import load_data
from compressor.errors import CompressorError
from compressor.pipeline import RunPlan, run_stages
from compressor.pipeline import run as run_in_python
from compressor.splitting import SplittingConfig
from compressor.stages import STAGES
from compressor.training.recipe import Recipe


@pytest.fixture
def command(tiny, run_options):
    """A run that takes longer than the test."""
    arch = ("--arch", tiny.arch)
    return [sys.executable, "-m", "compressor", "run", str(tiny.checkpoint), *arch, *run_options, "--epochs", "5000"]


def start(command, environment):
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=environment)


def hashes(path):
    files = (file for file in path.rglob("*") if file.is_file() and ".new" not in file.parts and file.name != ".lock")
    return {file: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def race(*commands, environment):
    """Start all at the same time; returns the one that works, killed in the end, and what the others said."""
    racers = [start(command, environment) for command in commands]
    try:
        losers = {}
        while len(losers) < len(racers) - 1:
            for racer in racers:
                if racer not in losers and racer.poll() is not None:
                    losers[racer] = racer.stderr.read()
        (winner,) = set(racers) - set(losers)
        assert winner.poll() is None
        holder = Path("r/.lock").read_text()
    finally:
        for racer in racers:
            racer.kill()
            racer.wait()
            racer.stderr.close()
    assert holder.startswith(f"{winner.pid}\n")
    return winner, {loser.returncode: told for loser, told in losers.items()}


@pytest.mark.parametrize("overwrite", [[], ["--overwrite"]])
def test_of_two_runs_that_start_at_once_one_works_and_the_other_names_it(command, environment, overwrite, finished):
    if overwrite:
        shutil.copytree(finished[0], "r")
    before = hashes(Path("r"))
    line = [*command, "--out", "r", *overwrite]
    winner, losers = race(line, [*line, "--batch-size", "16"], environment=environment)
    ((code, told),) = losers.items()
    assert code == 1
    assert told.startswith(f"Error: r is being written by process {winner.pid} (")
    assert told.count("\n") == 1
    if overwrite:
        assert hashes(Path("r")) == before


@pytest.fixture
def arguments(tiny):
    """Of a run in Python."""
    network = load(tiny.checkpoint, arch=tiny.arch)
    plan = RunPlan(penalties=SplittingConfig(target_macs=0.5), recipe=Recipe(epochs=2), max_seconds=0.5)
    return network, load_data(tiny.data, (1, 8, 8)), plan, Path("r")


def test_of_two_threads_that_call_run_one_works(arguments, monkeypatch):
    working, refused, tried = threading.Event(), [], threading.Event()

    def wait(*args):
        working.set()
        assert tried.wait(20)
        raise ZeroDivisionError

    def try_it():
        with pytest.raises(ZeroDivisionError):
            run_in_python(*arguments)

    monkeypatch.setattr(run_stages.Stages, "run", wait)
    thread = threading.Thread(target=try_it)
    thread.start()
    assert working.wait(20)
    for overwrite in (False, True):
        with pytest.raises(CompressorError) as caught:
            run_in_python(*arguments, overwrite=overwrite)
        refused.append(str(caught.value))
    tried.set()
    thread.join()
    assert all(told.startswith("r is being written by process ") for told in refused)
    assert not Path("r/.lock").exists()


def vanish():
    shutil.rmtree("r")


def be_replaced():
    vanish()
    Path("r").mkdir()
    Path("r/notes.txt").write_text("mine")


BEGINS_IN = {"evaluate": 0, "fine_tune": 1, "shrink": 2, "recover": 3, "export": 4, "benchmark": 5}


@pytest.mark.parametrize(
    ("stage", "happens"), [*((stage, vanish) for stage in BEGINS_IN), ("shrink", be_replaced), ("export", be_replaced)]
)
def test_a_folder_that_vanishes_ends_the_run_in_one_line(
    compress, tiny, run_options, finished, monkeypatch, stage, happens
):
    shutil.copytree(finished[0], "r")
    for later in STAGES[BEGINS_IN[stage] :]:
        Path(f"r/stages/{later.name}.json").unlink()
    work = getattr(run_stages, stage)

    def work_on(*args, **options):
        happens()
        return work(*args, **options)

    monkeypatch.setattr(run_stages, stage, work_on)
    done = compress("run", tiny.checkpoint, "--arch", tiny.arch, *run_options, "--out", "r", "--quiet")
    assert done.exit_code == 1
    told = "r was removed or replaced while this command worked in it, so the command stopped; give it again"
    assert [line[: len(told) + 7] for line in done.error] == [f"Error: {told}"]
    assert [path.name for path in Path().rglob("*")] == ([] if happens is vanish else ["r", "notes.txt"])
