"""What fine-tune and recover have trained is never lost: the same command goes on, and old files stay until then."""

import errno
import json
import shutil
from pathlib import Path

import pytest

from compressor.cli import training as commands
from compressor.files import write_bytes
from compressor.training.states import States

QUICK = ("--epochs", 3, "--lr", 0.1, "--batch-size", 32, "--out", "a.pt")
COMMANDS = ("fine-tune", "recover")
KEPT = r"; the training up to epoch {} is kept in {}, and the same command goes on from there"


class Killed(BaseException):
    """What ends a process at once: nothing that catches errors sees it."""


def kill(*args, **options):
    raise Killed


def contents():
    return {path.name: path.read_bytes() for path in Path().iterdir() if path.is_file()}


def folder():
    (found,) = Path().glob("a.training-*")
    return found


@pytest.fixture(params=COMMANDS)
def do(request, tiny, compress):
    """The command, which writes a.pt and a.jsonl."""
    own = ("--target-macs", 0.5) if request.param == "fine-tune" else ()

    def run(*args):
        return compress(request.param, tiny.checkpoint, "--arch", tiny.arch, *own, *QUICK, *args)

    return run


@pytest.fixture
def undisturbed(do):
    """The files that it writes; they are gone again."""
    done = do()
    assert done.exit_code == 0, done.stderr
    assert sorted(path.name for path in Path().iterdir()) == ["a.jsonl", "a.pt"]
    written = contents()
    for name in written:
        Path(name).unlink()
    return written


def interrupt(do, patch, epochs, with_=KeyboardInterrupt):
    """Give the command, and end it when so many ``epochs`` are on disk."""
    keep = States.keep

    def kept(self, before, total, done, run):
        keep(self, before, total, done, run)
        if len(done) == epochs:
            raise with_

    with patch.context() as inner:
        inner.setattr(States, "keep", kept)
        return do()


@pytest.mark.parametrize("epochs", [1, 2, 3])
def test_the_same_command_goes_on_and_ends_the_same(do, undisturbed, epochs, monkeypatch):
    assert interrupt(do, monkeypatch, epochs).exit_code != 0
    assert len((folder() / "metrics.jsonl").read_text().splitlines()) == epochs
    assert contents() == {}
    again = do("--json")
    assert again.exit_code == 0, again.stderr
    assert len(json.loads(again.stdout)["epochs"]) == 3
    assert contents() == undisturbed
    assert not list(Path().glob("*.training-*"))


def test_a_kill_at_any_write_of_the_result_is_made_good(do, undisturbed, monkeypatch):
    """The same command, without --overwrite, finds its own result and completes it."""
    places = [(commands, "_write_result"), (Path, "replace"), (States, "remove")]
    for owner, name in places:
        with monkeypatch.context() as patch:
            if name == "replace":
                real = Path.replace
                patch.setattr(Path, name, lambda self, to, real=real: kill() if to.name == "a.pt" else real(self, to))
            else:
                patch.setattr(owner, name, kill)
            with pytest.raises(Killed):
                do()
    assert contents() == undisturbed
    Path("a.jsonl").unlink()
    again = do()
    assert again.exit_code == 0, again.stderr
    assert contents() == undisturbed
    assert not list(Path().glob("*.training-*"))


def full(name):
    """A disk that has no room for the file of that name."""

    def write(path, content):
        if path.name == name:
            raise OSError(errno.ENOSPC, "No space left on device")
        write_bytes(path, content)

    return write


def test_a_disk_that_is_full_at_the_result_loses_nothing(do, undisturbed, monkeypatch):
    writers = (("compressor.checkpoints.write_bytes", "result.pt"), ("compressor.codec.write_bytes", "a.jsonl"))
    for writer, name in writers:
        with monkeypatch.context() as patch:
            patch.setattr(writer, full(name))
            failed = do()
        assert failed.exit_code == 1
        (told,) = failed.error
        assert told == "Error: [Errno 28] No space left on device" + KEPT.format(3, folder())
    assert do().exit_code == 0
    assert contents() == undisturbed


def test_an_architecture_that_vanishes_loses_nothing(tiny, compress, monkeypatch):
    source = Path(tiny.arch.rpartition(":")[0])
    shutil.copy(source, "net.py")

    def do():
        return compress("fine-tune", tiny.checkpoint, "--arch", "net.py:build", *QUICK)

    assert do().exit_code == 0
    undisturbed = contents()
    for name in ("a.pt", "a.jsonl"):
        Path(name).unlink()
    keep = States.keep

    def kept(self, before, total, done, run):
        keep(self, before, total, done, run)
        if len(done) == 3:
            Path("net.py").unlink()

    with monkeypatch.context() as patch:
        patch.setattr(States, "keep", kept)
        failed = do()
    assert failed.exit_code != 0
    (told,) = failed.error
    assert "net.py" in told
    assert told.endswith(KEPT.format(3, folder()))
    shutil.copy(source, "net.py")
    assert do().exit_code == 0
    assert contents() == undisturbed


@pytest.fixture
def old():
    """A result of earlier."""
    files = {"a.pt": b"old weights", "a.jsonl": b"old figures\n"}
    for name, content in files.items():
        Path(name).write_bytes(content)
    return files


@pytest.mark.parametrize("options", [("--lr", 1e30), ("--max-train", 2, "--batch-size", 1), ("--data", "npz:none.npz")])
def test_a_failure_with_overwrite_leaves_the_old_result(do, old, options):
    assert do("--overwrite", *options).exit_code != 0
    assert contents() == old
    assert not list(Path().glob("*.training-*"))


def test_an_interrupt_with_overwrite_leaves_the_old_result(do, old, monkeypatch):
    interrupt(lambda: do("--overwrite"), monkeypatch, 2)
    assert contents() == old
    refused = do()
    assert refused.exit_code == 2
    assert refused.error[0].startswith("Error: a.pt exists; choose another --out, or pass --overwrite to replace it")
    assert contents() == old
    assert do("--overwrite").exit_code == 0
    assert set(contents()) == {"a.pt", "a.jsonl"}
    assert contents()["a.pt"] != old["a.pt"]


def test_a_result_that_is_not_its_own_is_not_replaced_by_a_finished_training(do, undisturbed, monkeypatch):
    interrupt(do, monkeypatch, 3)
    Path("a.pt").write_bytes(b"somebody else's")
    refused = do()
    assert refused.exit_code == 2
    assert refused.error[0].startswith("Error: a.pt exists; choose another --out")
    assert contents() == {"a.pt": b"somebody else's"}
    Path("a.pt").unlink()
    assert do().exit_code == 0
    assert contents() == undisturbed


@pytest.mark.filterwarnings("always::compressor.errors.CompressorWarning")
def test_other_settings_do_not_go_on_and_say_so(do, monkeypatch):
    interrupt(do, monkeypatch, 2)
    kept = folder()
    other = do("--seed", 5)
    assert other.exit_code == 0
    assert f"Warning: {kept} holds an unfinished training with other settings, which is left alone" in other.stderr
    assert kept.exists()
    assert sorted(contents()) == ["a.jsonl", "a.pt"]


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_a_training_whose_only_epoch_is_undone_fails(do, optimizer):
    done = do("--epochs", 1, "--lr", 1e30, "--optimizer", optimizer)
    assert done.exit_code == 1
    assert "training diverged 4 times" in done.error[0]
    assert "use a smaller --lr" in done.error[0]
    assert not list(Path().iterdir())


def test_states_are_written_as_often_as_asked(do, monkeypatch):
    interrupt(lambda: do("--checkpoint-every", 2), monkeypatch, 3)
    assert sorted(path.name for path in folder().glob("*.state")) == ["epoch-000002.state", "epoch-000003.state"]


def test_states_cannot_be_turned_off(do):
    refused = do("--checkpoint-every", 0)
    assert (refused.exit_code, refused.error) == (2, ["Error: --checkpoint-every must be at least 1, got 0"])
    assert not list(Path().iterdir())


LAZY = """
from torch import nn

def build():
    network = nn.Sequential(nn.Flatten(), nn.LazyLinear(8), nn.ReLU(), nn.Linear(8, 4))
    network.input_shape = (1, 8, 8)
    return network
"""
CHANGING = """
from pathlib import Path
from torch import nn

def build():
    count = Path("count")
    count.write_text(count.read_text() + "x" if count.exists() else "x")
    more = [nn.Identity() for _ in count.read_text()]
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.ReLU(), nn.Linear(8, 4), *more)
    network.input_shape = (1, 8, 8)
    return network
"""
# The file of an architecture whose networks could not be saved or loaded, and what is told of it.
HOPELESS = {
    "lazy layers": (
        LAZY,
        "net.py:build has layers whose sizes are not known yet (1.weight); run the network once in its factory, "
        "or give them sizes",
    ),
    "another one each time": (
        CHANGING,
        "what is trained could not be saved: module '5' of the architecture is missing",
    ),
}


@pytest.mark.parametrize("case", HOPELESS)
def test_a_network_that_could_not_be_saved_is_not_trained(tiny, compress, case):
    source, told = HOPELESS[case]
    Path("net.py").write_text(source)
    refused = compress("fine-tune", "--arch", "net.py:build", "--data", tiny.data, "--normalize", "none", *QUICK)
    assert refused.exit_code == (2 if case == "lazy layers" else 1)
    assert refused.error == [f"Error: {told}"]
    assert {path.name for path in Path().iterdir()} <= {"net.py", "count"}


def test_an_output_that_cannot_be_written_is_told_before_the_training(tiny, compress, monkeypatch):
    monkeypatch.setattr("compressor.training.loop.Loop.epoch", kill)
    Path("file").touch()
    done = compress("fine-tune", tiny.checkpoint, "--arch", tiny.arch, *QUICK, "--out", "file/a.pt")
    assert (done.exit_code, len(done.error)) == (1, 1)
    assert "Not a directory" in done.error[0] or "File exists" in done.error[0]
