"""Commands of a few seconds that are disturbed, and what must hold when the same command has been left to finish."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from fuzz import server
from fuzz.server import Outcome

COMMON = ("--arch", "net.py:build", "--lr", "0.1", "--batch-size", "32", "--quiet")
RUN = ("run", "dense.pt", *COMMON, "--epochs", "4", "--max-seconds", "0.2", "--out", "r")
FINE_TUNE = ("fine-tune", "dense.pt", *COMMON, "--epochs", "8", "--target-macs", "0.5", "--out", "o.pt")
COMMANDS = {"run": RUN, "fine-tune": FINE_TUNE}
FILES = ("net.py", "q.npz", "dense.pt")
# What must be equal to the bit; the others hold times.
EXACT = {".pt", ".onnx", ".safetensors"}
PATIENCE = 60.0
# A worker whose parent was killed notices it within this time.
FAREWELL = 5.0


class Broken(Exception):
    """Something that must hold does not."""


@dataclass(frozen=True)
class Result:
    """What lies in a folder after a command: every file's name, and the hashes of those that must be exact."""

    names: frozenset[str]
    exact: dict[str, str]


class Lab:
    """Runs commands in fresh folders below ``root``, with a home and a place for temporary files of their own."""

    def __init__(self, root: Path, bases: Path) -> None:
        self.root, self.bases = root, bases
        self._count = 0
        self._references: dict[tuple[str, ...], tuple[Result, float]] = {}
        for name in ("home", "tmp"):
            (root / name).mkdir(parents=True, exist_ok=True)

    def folder(self) -> Path:
        """A fresh one with what the commands read; the one before is gone."""
        shutil.rmtree(self.root / f"case{self._count}", ignore_errors=True)
        self._count += 1
        folder = self.root / f"case{self._count}"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        for name in FILES:
            shutil.copyfile(self.bases / name, folder / name)
        return folder

    def start(
        self, arguments: tuple[str, ...], folder: Path, log: str = "log", work: Callable[[], None] | None = None
    ) -> int:
        """The id of a child that runs the command, once it is in the command's hands."""
        (self.root / f"{log}.err").unlink(missing_ok=True)
        environment = {
            "HOME": str(self.root / "home"),
            "TMPDIR": str(self.root / "tmp"),
            "NO_COLOR": "1",
            "COLUMNS": "200",
        }
        pid = server.fork(work or server.compress(arguments), folder, self.root / log, environment)
        while not (self.root / f"{log}.err").exists():
            time.sleep(0.001)
        return pid

    def end(self, pid: int, log: str = "log") -> Outcome:
        """What the child did; `Broken` when it hangs or leaves processes behind."""
        deadline = time.monotonic() + PATIENCE
        while os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
            if time.monotonic() > deadline:
                os.killpg(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
                raise Broken(f"the command hangs: {self._said(log)}")
            time.sleep(0.002)
        _, status, _ = os.wait4(pid, 0)
        _farewell(pid)
        texts = [(self.root / f"{log}.{name}").read_text(errors="replace") for name in ("out", "err")]
        return Outcome(code=os.waitstatus_to_exitcode(status), stdout=texts[0], stderr=texts[1], seconds=0, peak=0)

    def finish(self, arguments: tuple[str, ...], folder: Path) -> Result:
        """Let the command finish; `Broken` when it fails or leaves anything outside of ``folder``.

        One that had written its last file when it was disturbed is refused, because that file is there: it is done.
        """
        outcome = self.end(self.start(arguments, folder))
        if outcome.code and not was_done(outcome):
            raise Broken(f"the same command does not go on: exit {outcome.code}: {outcome.stderr.strip()[-500:]}")
        for place in ("tmp", "home"):
            if left := sorted(path.name for path in (self.root / place).iterdir()):
                for name in left:
                    shutil.rmtree(self.root / place / name, ignore_errors=True)
                raise Broken(f"left in {place}: {', '.join(left)}")
        return result(folder)

    def reference(self, arguments: tuple[str, ...]) -> tuple[Result, float]:
        """What the undisturbed command makes, and in how many seconds."""
        if arguments not in self._references:
            folder, began = self.folder(), time.monotonic()
            made = self.finish(arguments, folder)
            self._references[arguments] = made, time.monotonic() - began
        return self._references[arguments]

    def _said(self, log: str) -> str:
        return (self.root / f"{log}.err").read_text(errors="replace")[-500:]


def was_done(outcome: Outcome) -> bool:
    """Whether a command did nothing because what it makes is there."""
    return outcome.code == 2 and f"{FINE_TUNE[-1]} exists;" in outcome.stderr


def result(folder: Path) -> Result:
    """What lies in ``folder``."""
    files = {str(path.relative_to(folder)): path for path in folder.rglob("*")}
    exact = {name: _digest(path) for name, path in files.items() if path.suffix in EXACT}
    return Result(frozenset(files), exact)


def require_equal(found: Result, wanted: Result) -> None:
    """Raise `Broken` when a file is missing, left over or another one."""
    if more := sorted(found.names - wanted.names):
        raise Broken(f"left over: {', '.join(more)}")
    if missing := sorted(wanted.names - found.names):
        raise Broken(f"missing: {', '.join(missing)}")
    if differing := sorted(name for name, digest in wanted.exact.items() if found.exact[name] != digest):
        raise Broken(f"not those of the undisturbed command: {', '.join(differing)}")


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _farewell(pid: int) -> None:
    deadline = time.monotonic() + FAREWELL
    while _alive(pid):
        if time.monotonic() > deadline:
            os.killpg(pid, signal.SIGKILL)
            raise Broken("a process is left behind")
        time.sleep(0.005)


def _alive(session: int) -> bool:
    try:
        os.killpg(session, 0)
    except ProcessLookupError:
        return False
    return True
