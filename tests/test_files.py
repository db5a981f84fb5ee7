from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import subprocess
from pathlib import Path

import pytest

from compressor.checkpoints import fresh, save
from compressor.errors import CompressorError, UsageError
from compressor.files import (
    atomic_path,
    refuse_existing,
    remove_folder,
    remove_leftovers,
    scratch_folder,
    sha256,
    write_bytes,
    write_text,
)


class Interrupted(Exception):
    pass


def everything(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def no_space() -> OSError:
    return OSError(errno.ENOSPC, "No space left on device")


def fail_while_writing(path: Path, error: BaseException) -> None:
    with atomic_path(path) as temporary:
        temporary.write_text("half")
        raise error


def test_file_is_written_whole(tmp_path):
    write_text(tmp_path / "out.txt", "Größe\n")
    assert (tmp_path / "out.txt").read_bytes() == "Größe\n".encode()


def test_nothing_else_is_left_after_success(tmp_path):
    write_bytes(tmp_path / "out.bin", b"\x00\x01")
    assert everything(tmp_path) == {"out.bin"}


def test_file_is_not_there_before_it_is_complete(tmp_path):
    with atomic_path(tmp_path / "out.txt") as temporary:
        temporary.write_text("whole")
        assert not (tmp_path / "out.txt").exists()
    assert (tmp_path / "out.txt").read_text() == "whole"


def test_old_content_stands_until_the_new_is_complete(tmp_path):
    path = tmp_path / "out.txt"
    path.write_text("old")
    with atomic_path(path) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"


def test_temporary_file_lies_in_the_same_folder(tmp_path):
    with atomic_path(tmp_path / "out.txt") as temporary:
        assert temporary.parent == tmp_path


def test_missing_folders_are_made(tmp_path):
    write_text(tmp_path / "a" / "b" / "out.txt", "x")
    assert (tmp_path / "a" / "b" / "out.txt").read_text() == "x"


@pytest.mark.parametrize("error", [Interrupted(), KeyboardInterrupt(), CompressorError("refused")])
def test_error_while_writing_passes_through(tmp_path, error):
    with pytest.raises(type(error)):
        fail_while_writing(tmp_path / "out.txt", error)


@pytest.mark.parametrize("error", [Interrupted(), KeyboardInterrupt(), CompressorError("refused"), no_space()])
def test_error_while_writing_leaves_the_old_file_and_nothing_else(tmp_path, error):
    (tmp_path / "out.txt").write_text("old")
    with pytest.raises((type(error), CompressorError)):
        fail_while_writing(tmp_path / "out.txt", error)
    assert everything(tmp_path) == {"out.txt"}
    assert (tmp_path / "out.txt").read_text() == "old"


def test_operating_system_error_becomes_one_line(tmp_path):
    path = tmp_path / "out.txt"
    with pytest.raises(CompressorError) as caught:
        fail_while_writing(path, no_space())
    assert str(caught.value) == f"cannot write {path}: No space left on device"


def test_file_where_a_folder_is_needed_is_told_in_one_line(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(CompressorError, match=r"cannot write .*file/out\.txt: (File exists|Not a directory)"):
        write_text(tmp_path / "file" / "out.txt", "y")


def test_folder_in_the_place_of_the_file_is_told_and_kept(tmp_path):
    (tmp_path / "out.txt").mkdir()
    with pytest.raises(CompressorError, match=r"cannot write .*out\.txt: Is a directory"):
        write_text(tmp_path / "out.txt", "y")
    assert everything(tmp_path) == {"out.txt"}


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_folder_without_permission_is_told_in_one_line(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(CompressorError, match="Permission denied"):
        write_text(tmp_path / "out.txt", "y")
    tmp_path.chmod(0o700)


@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_mode_of_a_new_file_follows_the_umask(tmp_path, mask, mode):
    before = os.umask(mask)
    try:
        write_text(tmp_path / "out.txt", "x")
        left = os.umask(mask)
    finally:
        os.umask(before)
    assert (tmp_path / "out.txt").stat().st_mode & 0o777 == mode
    assert left == mask


def test_hash_of_a_file_is_that_of_its_content(tmp_path):
    (tmp_path / "a").write_bytes(b"abc" * 1_000_000)
    assert sha256(tmp_path / "a") == hashlib.sha256(b"abc" * 1_000_000).hexdigest()


def test_existing_file_is_refused_with_what_to_do(tmp_path):
    (tmp_path / "out.txt").write_text("old")
    with pytest.raises(UsageError, match=r"out\.txt exists; choose another --out, or pass --overwrite to replace it"):
        refuse_existing(tmp_path / "out.txt", overwrite=False)


@pytest.mark.parametrize(("name", "overwrite"), [("old.txt", True), ("new.txt", False), ("new.txt", True)])
def test_new_file_and_permitted_replacement_are_not_refused(tmp_path, name, overwrite):
    (tmp_path / "old.txt").write_text("old")
    refuse_existing(tmp_path / name, overwrite=overwrite)
    assert (tmp_path / "old.txt").read_text() == "old"


def test_leftovers_of_a_killed_process_are_removed_and_nothing_else(tmp_path):
    for name in (".model.pt.abc.part", "model.pt", "notes.part", ".hidden"):
        (tmp_path / name).write_text("x")
    remove_leftovers(tmp_path)
    assert everything(tmp_path) == {"model.pt", "notes.part", ".hidden"}


@pytest.fixture
def scratch(tmp_path, monkeypatch):
    """The place of temporary folders."""
    place = tmp_path / "scratch"
    place.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(place))
    return place


def test_the_temporary_file_of_a_living_process_is_not_a_leftover(tmp_path):
    with atomic_path(tmp_path / "out.txt") as temporary:
        remove_leftovers(tmp_path)
        assert temporary.exists()
        assert str(os.getpid()) in temporary.name


def test_the_next_writer_removes_what_a_killed_one_left_of_this_file_alone(tmp_path):
    for name in (".out.txt.abc.part", ".out[1].txt.abc.part", ".other.txt.abc.part"):
        (tmp_path / name).touch()
    write_text(tmp_path / "out.txt", "x")
    assert everything(tmp_path) == {"out.txt", ".out[1].txt.abc.part", ".other.txt.abc.part"}
    write_text(tmp_path / "out[1].txt", "x")
    assert everything(tmp_path) == {"out.txt", "out[1].txt", ".other.txt.abc.part"}


@pytest.mark.parametrize("error", [None, Interrupted, KeyboardInterrupt])
def test_a_scratch_folder_is_gone_afterwards(scratch, error):
    with contextlib.suppress(Interrupted, KeyboardInterrupt), scratch_folder() as folder:
        assert str(os.getpid()) in folder.name
        (folder / "draft").write_text("x")
        if error is not None:
            raise error
    assert everything(scratch) == set()


def test_scratch_folders_of_killed_processes_are_removed_and_nothing_else(scratch):
    (scratch / "mine").mkdir()
    for name in (".compressor-scratch-1-abc", "compressor-main"):
        (scratch / name).mkdir()
        (scratch / name / "draft").write_text("x")
    (scratch / ".compressor-scratch-2-link").symlink_to(scratch / "compressor-main")
    with scratch_folder() as one, scratch_folder() as other:
        left = {"mine", "compressor-main", ".compressor-scratch-2-link"}
        assert everything(scratch) == {*left, one.name, other.name}
    assert (scratch / "compressor-main/draft").exists()


@pytest.fixture
def tiny_disk(tmp_path):
    """A real file system of half a megabyte, less than a checkpoint of LeNet-5."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", str(folder)]
    try:
        mounted = subprocess.run(mount, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        mounted = False
    if not mounted:
        pytest.skip("only root can mount a small file system, and not everywhere")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_checkpoint_on_a_full_disk_fails_in_one_line_and_leaves_nothing(tiny_disk, suffix):
    path = tiny_disk / f"model{suffix}"
    with pytest.raises(CompressorError) as caught:
        save(fresh("lenet5"), path)
    assert str(caught.value) == f"cannot write {path}: No space left on device"
    assert everything(tiny_disk) == set()


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_checkpoint_on_a_full_disk_leaves_the_old_file_as_it_was(tiny_disk, suffix):
    path = tiny_disk / f"model{suffix}"
    path.write_bytes(b"old" * 1000)
    with pytest.raises(CompressorError, match="No space left on device"):
        save(fresh("lenet5"), path, overwrite=True)
    assert path.read_bytes() == b"old" * 1000
    assert everything(tiny_disk) == {path.name}


def test_whatever_stands_in_the_place_of_a_folder_is_removed_and_nothing_behind_it(tmp_path):
    kept = tmp_path / "kept"
    (kept / "inner").mkdir(parents=True)
    os.mkfifo(tmp_path / "fifo")  # who opens one waits for ever
    (tmp_path / "link").symlink_to(kept)
    (tmp_path / "folder" / "inner").mkdir(parents=True)
    for name in ("fifo", "link", "folder", "nothing"):
        remove_folder(tmp_path / name)
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]
    assert (kept / "inner").exists()


def test_a_fifo_is_no_leftover_that_anybody_waits_for(tmp_path):
    os.mkfifo(tmp_path / ".a.pt.1.part")
    write_text(tmp_path / "a.pt", "x")
    assert (tmp_path / "a.pt").read_text() == "x"
