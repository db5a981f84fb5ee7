"""What is written where, what is never overwritten unasked, and what a full disk leaves behind."""

import errno
import os
import re
import shlex
import subprocess
from pathlib import Path

import onnxruntime
import pytest
import torch

from compressor.cli import compress as group
from compressor.errors import CompressorError
from compressor.locks import hold

WRITERS = {
    "fine-tune {checkpoint} --arch {arch} --epochs 1 --out a.pt": ("a.pt", "a.jsonl"),
    "shrink {sparse} --trust-arch --out a.safetensors": ("a.safetensors",),
    "export {checkpoint} --trust-arch --out a.onnx": ("a.onnx",),
    "benchmark {folder}/small.onnx --max-seconds 0.2 --out a.json": ("a.json", "a.html", "a.md"),
    "compare {folder}/report.json {folder}/report.json --out a.md": ("a.md",),
}


@pytest.fixture
def do(compress, tiny, finished):
    def run(line, *args):
        return compress(*shlex.split(line.format(folder=finished[0], **vars(tiny))), *args)

    return run


@pytest.mark.parametrize(("line", "names"), WRITERS.items())
def test_a_file_that_exists_is_kept_unless_overwrite_is_given(line, names, do):
    for name in names:
        Path(name).write_text("mine")
        refused = do(line)
        assert (refused.exit_code, refused.stdout) == (2, "")
        assert refused.error == [f"Error: {name} exists; choose another --out, or pass --overwrite to replace it"]
        assert [path.name for path in Path().iterdir()] == [name]
        assert Path(name).read_text() == "mine"
        Path(name).unlink()
    Path(names[0]).write_text("mine")
    assert do(line, "--overwrite").exit_code == 0
    assert sorted(path.name for path in Path().iterdir()) == sorted(names)
    assert Path(names[0]).read_bytes() != b"mine"


@pytest.mark.parametrize(("line", "names"), WRITERS.items())
def test_a_refusal_tidies_up_after_a_killed_process(line, names, do):
    Path(names[0]).write_text("mine")
    left = [Path(f".{name}.lock") for name in names]
    for lock in left:
        lock.write_text("1\ncompress")
    assert do(line).exit_code == 2
    assert not [lock for lock in left if lock.exists()]


@pytest.mark.parametrize(("line", "names"), WRITERS.items())
def test_a_file_that_another_process_writes_is_refused_before_any_work(line, names, do):
    for name in names:
        with hold(Path(name)):
            refused = do(line, "--overwrite")
        assert (refused.exit_code, refused.stdout, len(refused.error)) == (1, "", 1)
        assert refused.error[0].startswith(f"Error: {name} is being written by process {os.getpid()} (")
        assert not list(Path().iterdir())


def test_a_file_is_held_while_the_command_works(do, monkeypatch):
    held = []

    def look(*args, **options):
        held.extend(sorted(path.name for path in Path().iterdir()))
        raise CompressorError("enough")

    monkeypatch.setattr("compressor.stages.fine_tune.train", look)
    do("fine-tune {checkpoint} --arch {arch} --epochs 1 --out a.pt")
    assert {".a.pt.lock", ".a.jsonl.lock"} <= {*held}
    assert not list(Path().iterdir())


def test_a_run_keeps_a_folder_that_is_no_run(do):
    Path("mine").mkdir()
    Path("mine/notes.txt").write_text("mine")
    for overwrite in ([], ["--overwrite"]):
        refused = do("run {checkpoint} --arch {arch} --out mine", *overwrite)
        assert refused.error == ["Error: mine exists and does not hold a run; choose another --out"]
    assert [path.name for path in Path("mine").iterdir()] == ["notes.txt"]


@pytest.fixture
def full_disk(tmp_path):
    """A folder on a file system with next to no room beside the locks."""
    place = tmp_path / "full"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=20k", "none", str(place)], check=False, capture_output=True
    )
    if mounted.returncode:
        pytest.skip("mounting a small file system needs root")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_fine_tune_on_a_full_disk_leaves_nothing_but_what_was_there(do, full_disk):
    (full_disk / "earlier.pt").write_bytes(b"earlier" * 1000)
    done = do(f"fine-tune {{checkpoint}} --arch {{arch}} --epochs 1 --out {full_disk}/a.pt")
    assert done.exit_code == 1
    (told,) = done.error
    assert re.fullmatch(
        rf"Error: training needs 0\.\d\d MB in {full_disk} for its states and its result, and 0\.\d\d MB are free; "
        "free some, or choose another --out",
        told,
    )
    assert [path.name for path in full_disk.iterdir()] == ["earlier.pt"]
    assert (full_disk / "earlier.pt").read_bytes() == b"earlier" * 1000


def test_a_run_on_a_full_disk_keeps_the_stages_that_it_finished(do, full_disk):
    (full_disk / "run").mkdir()
    done = do(f"run {{checkpoint}} --arch {{arch}} --epochs 2 --out {full_disk}/run --quiet")
    assert done.exit_code == 1
    assert len(done.error) == 1
    assert done.error[0].endswith(": No space left on device")
    assert not list((full_disk / "run").rglob("*.part"))
    for checkpoint in (full_disk / "run").glob("*.pt"):
        torch.load(checkpoint, weights_only=True)


@pytest.mark.parametrize("stage", ["dense", "export"])
def test_a_disk_that_fills_up_is_one_line(do, monkeypatch, stage):
    written = {"dense": "compressor.checkpoints.write_bytes", "export": "compressor.export.files.shutil.copyfile"}

    def full(*args):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(written[stage], full)
    done = do("run {checkpoint} --arch {arch} --epochs 2 --out r --quiet")
    assert (done.exit_code, len(done.error)) == (1, 1)
    assert "No space left on device" in done.error[0]
    assert not list(Path("r").rglob("*.part"))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
@pytest.mark.parametrize("command", ["run", "fine-tune", "evaluate"])
def test_cuda_without_a_gpu_is_refused_before_anything_is_done(command, do):
    done = do(f"{command} {{checkpoint}} --arch {{arch}} --device cuda")
    assert done.exit_code == 2
    assert done.error == ["Error: --device cuda is not available: 0 CUDA devices are visible; use --device cpu"]
    assert not list(Path().iterdir())


@pytest.mark.skipif("CUDAExecutionProvider" in onnxruntime.get_available_providers(), reason="there is CUDA")
@pytest.mark.parametrize("line", ["run {checkpoint} --arch {arch}", "benchmark {folder}/small.onnx"])
def test_a_provider_that_is_not_there_is_refused_before_anything_is_done(line, do):
    done = do(line, "--provider", "cuda")
    assert done.exit_code == 2
    assert "this ONNX Runtime has no provider cuda; it offers cpu" in done.error[0]
    assert not list(Path().iterdir())


def test_debug_adds_the_traceback_and_changes_nothing_else(do):
    plain, debug = do("evaluate nope.pt"), do("evaluate nope.pt --debug")
    assert "Traceback" not in plain.stderr
    assert debug.stderr.startswith("Traceback (most recent call last):")
    assert debug.stderr.splitlines()[-1] == plain.stderr.strip()
    assert debug.exit_code == plain.exit_code


def test_debug_keeps_the_exit_code_of_wrong_usage(do):
    assert do("run {checkpoint} --arch {arch} --epochs 1 --debug").exit_code == 2


def test_an_interrupted_command_is_exit_code_130(do, monkeypatch):
    def interrupt(*args, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr("compressor.stages.fine_tune.train", interrupt)
    done = do("fine-tune {checkpoint} --arch {arch} --out a.pt")
    assert done.exit_code == 130
    assert done.error == ["Stopped by Ctrl-C: nothing was written; the same command starts again"]
    assert not list(Path().iterdir())


def test_a_bug_of_ours_keeps_its_traceback(do, monkeypatch):
    def bug(*args, **options):
        raise ZeroDivisionError

    monkeypatch.setattr("compressor.checkpoints.load", bug)
    with pytest.raises(ZeroDivisionError):
        do("evaluate x.pt")


def test_without_a_command_the_help_is_shown(compress):
    assert "Usage: compress [OPTIONS] COMMAND" in compress().stderr


def test_every_option_that_writes_a_file_is_called_out():
    context = group.make_context("compress", ["list"], resilient_parsing=True)
    for name in group.list_commands(context):
        options = {option for parameter in group.get_command(context, name).params for option in parameter.opts}
        assert ("--out" in options) == ("--overwrite" in options), name
