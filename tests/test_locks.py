"""One writer a place, whoever else there is: threads, processes, dead processes, and folders that vanish."""

import errno
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from compressor import locks
from compressor.errors import CompressorError, CompressorWarning, UsageError
from compressor.files import atomic_path, write_text
from compressor.locks import abandoned, check_held, claim, hold, hold_folder

HOLDER = """
import sys, time
from pathlib import Path
from compressor.locks import hold, hold_folder
with {kind}(Path({path!r})):
    print("held", flush=True)
    time.sleep(60)
"""
KINDS = {"hold": ("a.pt", ".a.pt.lock"), "hold_folder": ("r", "r/.lock")}
both_kinds = pytest.mark.parametrize("kind", KINDS)


@pytest.fixture
def holder():
    """Start a process that holds something; it is killed in the end."""
    started = []

    def start(kind):
        script = HOLDER.format(kind=kind, path=KINDS[kind][0])
        process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
        started.append(process)
        assert process.stdout.readline() == "held\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def held(kind):
    return getattr(locks, kind)(Path(KINDS[kind][0]))


@both_kinds
def test_a_second_process_gets_one_line_at_once_with_who_holds_it(kind, holder):
    process = holder(kind)
    began = time.monotonic()
    with pytest.raises(CompressorError) as caught, held(kind):
        pass
    assert time.monotonic() - began < 0.2
    told = str(caught.value)
    assert told.startswith(f"{KINDS[kind][0]} is being written by process {process.pid} (-c); wait for it, stop it")
    assert "\n" not in told


@both_kinds
def test_the_lock_of_a_killed_process_is_taken_over(kind, holder):
    process = holder(kind)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert Path(KINDS[kind][1]).read_text().startswith(f"{process.pid}\n")
    with held(kind):
        assert Path(KINDS[kind][1]).read_text().startswith(f"{os.getpid()}\n")
    assert not [path for path in Path().rglob("*") if path.is_file()]


@both_kinds
def test_a_second_thread_is_refused_too(kind):
    refused = []

    def try_it():
        try:
            with held(kind):
                pass
        except CompressorError as error:
            refused.append(str(error))

    with held(kind):
        thread = threading.Thread(target=try_it)
        thread.start()
        thread.join()
    assert len(refused) == 1
    assert f"process {os.getpid()} (" in refused[0]


def test_two_are_never_in_while_many_come_and_go():
    """Holders remove their file, and with it the folder; who opened it just before must not think that he holds it."""
    inside, most, turns, others = [], [], [], []

    def come_and_go():
        until = time.monotonic() + 0.5
        while time.monotonic() < until:
            try:
                with hold(Path("deep/a.pt")):
                    inside.append(1)
                    most.append(len(inside))
                    turns.append(1)
                    inside.pop()
            except CompressorError as error:
                others.append(str(error))

    threads = [threading.Thread(target=come_and_go) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert max(most) == 1
    assert len(turns) > 20
    assert all(refused.startswith("deep/a.pt is being written by ") for refused in others)
    assert not [path for path in Path().rglob("*") if path.is_file()]


def test_other_files_are_not_held():
    with hold(Path("a.pt")), hold(Path("a.jsonl")), hold_folder(Path("r")):
        assert sorted(path.name for path in Path().iterdir()) == [".a.jsonl.lock", ".a.pt.lock", "r"]


def test_folders_made_for_a_lock_go_when_nothing_was_written():
    with hold(Path("a/b/c.pt")):
        pass
    with hold_folder(Path("runs/r")):
        pass
    assert not list(Path().iterdir())


def test_folders_that_were_there_or_hold_something_stay():
    Path("a").mkdir()
    with hold(Path("a/b/c.pt")), hold_folder(Path("r/s")):
        write_text(Path("r/s/kept.txt"), "x")
    assert sorted(path.as_posix() for path in Path().rglob("*")) == ["a", "r", "r/s", "r/s/kept.txt"]


def test_the_same_folder_again_in_the_block_is_the_same_lock():
    with hold_folder(Path("r")) as lock:
        with hold_folder(Path("r").absolute()) as again:
            assert again is lock
        assert Path("r/.lock").exists()


def test_a_file_in_the_place_of_the_folder_is_told():
    Path("r").write_text("mine")
    with pytest.raises(UsageError, match="r exists and is no folder; choose another --out"), hold_folder(Path("r")):
        pass


def vanish(folder):
    (folder / ".lock").unlink()
    folder.rmdir()


def be_replaced(folder):
    folder.rename("elsewhere")
    folder.mkdir()
    (folder / ".lock").touch()


@pytest.mark.parametrize("happens", [vanish, be_replaced])
def test_a_folder_that_is_not_the_same_any_more_is_not_written(happens):
    with hold_folder(Path("r")) as lock:
        lock.check()
        happens(Path("r"))
        before = sorted(Path().rglob("*"))
        for write in (lock.check, check_held, lambda: write_text(Path("r/stages/a.json"), "{}")):
            with pytest.raises(CompressorError, match=r"^r was removed or replaced while this command worked in it"):
                write()
        assert sorted(Path().rglob("*")) == before
    assert sorted(Path().rglob("*")) == before
    write_text(Path("r/a.json"), "{}")


def test_a_folder_that_vanishes_during_a_write_gets_nothing():
    def write():
        with hold_folder(Path("r")), atomic_path(Path("r/a.json")) as temporary:
            temporary.write_text("{}")
            Path("r").rename("elsewhere")
            Path("r").mkdir()

    with pytest.raises(CompressorError, match=r"^r was removed or replaced"):
        write()
    assert list(Path("r").iterdir()) == []


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_is_told_and_worked_on(monkeypatch, number):
    def refuse(descriptor, blocking):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(locks, "lock_descriptor", refuse)
    with (
        pytest.warns(CompressorWarning, match=r"a\.pt lies where files cannot be locked \(.*\); see to it that no"),
        hold(Path("a.pt")),
    ):
        write_text(Path("a.pt"), "x")
    assert [path.name for path in Path().iterdir()] == ["a.pt"]


def test_a_place_that_cannot_be_written_is_told_before_any_work():
    Path("file").touch()
    with pytest.raises(CompressorError, match=r"^cannot write file/a\.pt: "), hold(Path("file/a.pt")):
        pass
    with pytest.raises(CompressorError, match=r"^cannot write /proc/a\.pt: "), hold(Path("/proc/a.pt")):
        pass


def test_what_the_lock_file_says_cannot_steer_the_terminal(holder):
    process = holder("hold")
    Path(".a.pt.lock").write_text(f"{process.pid}\n\x1b[2J\nevil\n")
    with pytest.raises(CompressorError) as caught, hold(Path("a.pt")):
        pass
    assert f"process {process.pid} ( [2J evil)" in str(caught.value)


def test_what_is_claimed_is_abandoned_only_when_its_maker_is_gone():
    Path("a").touch()
    assert abandoned(Path("a"))
    descriptor = os.open("a", os.O_RDONLY)
    assert claim(descriptor, Path("a"))
    assert not abandoned(Path("a"))
    os.close(descriptor)
    assert abandoned(Path("a"))
    assert not abandoned(Path("nothing"))


def test_what_is_gone_cannot_be_claimed():
    Path("a").touch()
    descriptor = os.open("a", os.O_RDONLY)
    Path("a").unlink()
    assert not claim(descriptor, Path("a"))
    os.close(descriptor)
