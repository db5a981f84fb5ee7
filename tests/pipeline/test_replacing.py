"""`--overwrite` of a run replaces nothing until the new run is whole, and then all of it, wherever it is killed."""

import hashlib
import json
import shutil
from pathlib import Path

import pytest

from compressor.pipeline import replacing, run_stages
from compressor.pipeline.replacing import SETTINGS, clear, settle, take_place
from compressor.stages import REPORTS, STAGES, TITLES

OWN = ["run.json", *REPORTS, *(file for stage in STAGES for file in stage.files)]
RECORDS = [f"stages/{stage.name}.json" for stage in STAGES]
MINE = ("notes.txt", "stages/notes.txt")


class Killed(BaseException):
    pass


def make_run(path, content, names):
    for name in names:
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_text(content)


@pytest.fixture
def folder():
    """An old run with files that only it has, its user's notes, and a new run that is whole."""
    path = Path("r")
    make_run(path, "old", [*OWN, *RECORDS])
    make_run(path, "mine", MINE)
    make_run(path / ".new", "new", [*OWN[:-2], *RECORDS])
    return path


def contents(path):
    """What a reader of the folder sees of runs."""
    return {
        file.relative_to(path).as_posix(): file.read_text()
        for file in path.rglob("*")
        if file.is_file() and file.relative_to(path).parts[0] not in replacing.HIDDEN
    }


AFTER = {**dict.fromkeys([*OWN[:-2], *RECORDS], "new"), **dict.fromkeys(MINE, "mine")}


def dying_at(step, patch):
    """Let the process die at the ``step``-th change of the file system; returns how many there were."""
    done = []

    def counted(function):
        def change(*args, **options):
            if len(done) == step:
                raise Killed
            done.append(function)
            return function(*args, **options)

        return change

    for owner, name in ((Path, "rename"), (Path, "replace"), (Path, "unlink"), (Path, "rmdir"), (Path, "mkdir")):
        patch.setattr(owner, name, counted(getattr(owner, name)))
    patch.setattr(shutil, "rmtree", counted(shutil.rmtree))
    return done


def test_the_new_run_takes_the_place_and_what_is_not_a_runs_own_stays(folder):
    take_place(folder)
    assert contents(folder) == AFTER
    assert not [path for path in folder.iterdir() if path.name in replacing.HIDDEN]


def test_wherever_it_is_killed_no_reader_sees_files_of_both_and_the_next_start_finishes_it(folder, monkeypatch):
    shutil.copytree(folder, "kept")
    steps, finished = 0, False
    while not finished:
        shutil.rmtree(folder)
        shutil.copytree("kept", folder)
        with monkeypatch.context() as patch:
            dying_at(steps, patch)
            try:
                take_place(folder)
                finished = True
            except Killed:
                steps += 1
        seen = set(contents(folder).values()) - {"mine"}
        assert len(seen) <= 1, f"killed at step {steps}: files of two runs"
        if not (folder / ".new").exists():
            settle(folder)
            assert contents(folder) == AFTER
        else:
            assert set(contents(folder)) == {*OWN, *RECORDS, *MINE}, "the old run was touched before the new one moved"
    assert steps > len(OWN)


def test_one_that_is_killed_again_while_it_is_settled_ends_the_same(folder, monkeypatch):
    for step in (3, 7, 1):
        with monkeypatch.context() as patch:
            dying_at(step, patch)
            with pytest.raises(Killed):
                settle(folder) if not (folder / ".new").exists() else take_place(folder)
    settle(folder)
    assert contents(folder) == AFTER


def test_states_of_an_unfinished_training_go_with_the_old_run(folder):
    make_run(folder, "old", ["fine-tune.training-abc/epoch-1.state", "my.training-abc/epoch-1.state"])
    take_place(folder)
    assert contents(folder) == {**AFTER, "my.training-abc/epoch-1.state": "old"}


@pytest.fixture
def copy(finished):
    return Path(shutil.copytree(finished[0], "copy"))


@pytest.fixture
def run(compress, tiny, run_options):
    return lambda *args: compress("run", tiny.checkpoint, "--arch", tiny.arch, *run_options, "--out", "copy", *args)


def hashes(path):
    return {
        file.relative_to(path).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in path.rglob("*")
        if file.is_file() and file.relative_to(path).parts[0] not in replacing.HIDDEN
    }


def interrupt(*args, **options):
    raise KeyboardInterrupt


def test_the_same_command_goes_on_with_a_new_run_that_was_killed(run, copy, finished, monkeypatch):
    (copy / "notes.txt").write_text("mine")
    before = hashes(copy)
    for name, done in (("shrink", 2), ("recover", 3)):
        with monkeypatch.context() as patch:
            patch.setattr(run_stages, name, interrupt)
            stopped = run("--overwrite")
        told = f"{', '.join(tuple(TITLES)[:done])} finished in copy; the same command goes on"
        assert (stopped.exit_code, stopped.error[-1]) == (130, f"Stopped by Ctrl-C: {told}")
        assert hashes(copy) == before
    done = run("--overwrite")
    assert done.exit_code == 0
    assert done.stderr.count("finished before, not repeated") == 3
    after = hashes(copy)
    assert {*after} == {*before}
    same = {name for name in before if after[name] == before[name]}
    # The records tell the time that a stage took.
    assert {"notes.txt", "run.json", "recovered.pt", "small.onnx"} <= same
    assert "stages/dense.json" not in same
    assert not (copy / ".new").exists()


def test_a_new_run_that_was_begun_with_other_settings_is_begun_again(run, copy, monkeypatch):
    before = hashes(copy)
    monkeypatch.setattr(run_stages, "fine_tune", interrupt)
    run("--overwrite", "--batch-size", 16)
    assert run("--overwrite").stderr.count("finished before, not repeated") == 0
    assert json.loads((copy / ".new/run.json").read_text())["batch_size"] == 32
    assert run("--overwrite").stderr.count("finished before, not repeated") == 1
    assert hashes(copy) == before


def test_without_overwrite_the_old_run_is_meant(run, copy, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(run_stages, "fine_tune", interrupt)
        run("--overwrite", "--batch-size", 16)
    done = run()
    assert done.stderr.count("finished before, not repeated") == len(STAGES)
    assert (copy / ".new").exists()


def test_a_damaged_record_of_the_new_run_says_what_to_do(run, copy, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(run_stages, "fine_tune", interrupt)
        run("--overwrite")
    (copy / ".new/stages/dense.json").write_text("{")
    done = run("--overwrite", "--quiet")
    assert (done.exit_code, len(done.error)) == (1, 1)
    assert done.error[0].endswith("remove copy/.new to start the new run again")


def test_what_a_killed_start_left_between_the_two_runs_is_put_right_by_the_next_command(run, copy, monkeypatch):
    shutil.copytree(copy, "new")
    shutil.move("new", copy / ".new")
    (copy / "report.md").write_text("old")
    with monkeypatch.context() as patch:
        dying_at(25, patch)
        with pytest.raises(Killed):
            take_place(copy)
    assert not (copy / "run.json").exists() or not (copy / "report.json").exists()
    done = run()
    assert done.exit_code == 0, done.stderr
    assert done.stderr.count("finished before, not repeated") == len(STAGES)
    assert (copy / "report.md").read_text() != "old"


def test_what_older_versions_wrote_under_other_names_goes_with_their_run(tmp_path):
    for name in (SETTINGS, "small.pt", "shrunk.pt", "mine.txt"):
        (tmp_path / name).write_text("{}")
    clear(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
