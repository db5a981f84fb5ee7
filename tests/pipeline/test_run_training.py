"""A run goes on inside the trainings of its stages, and keeps their states until the stage is finished."""

import hashlib
import json
import re
from pathlib import Path

import pytest

from compressor.pipeline import folder, plan, run_stages
from compressor.training.states import States

# Two epochs of each training.
OPTIONS = ("--epochs", 4, "--lr", 0.1, "--batch-size", 32)
TRAINING = ("fine-tune", "recover")
PRODUCTS = ("sparse.pt", "fine-tune.jsonl", "recovered.pt", "recover.jsonl")
KEPT = re.compile(r"the training up to epoch (\d) is kept in (\S+), and the same command goes on from there")


class Trained(Exception):
    """All trainings are done; what comes after them takes long, and is not looked at here."""


@pytest.fixture(scope="module", autouse=True)
def _no_export():
    def stop(stages):
        raise Trained

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run_stages.Stages, "export", stop)
        patch.setattr(plan, "SPARSE", 1 / 2)
        yield


def started(compress, tiny, place):
    return compress("run", tiny.checkpoint, "--arch", tiny.arch, *OPTIONS, "--out", place)


@pytest.fixture
def run(compress, tiny):
    """A run that fails or is interrupted in its trainings."""
    return lambda: started(compress, tiny, "r")


@pytest.fixture
def complete(compress, tiny):
    """A run that goes through its trainings."""

    def trained():
        with pytest.raises(Trained):
            started(compress, tiny, "r")

    return trained


@pytest.fixture(scope="module")
def undisturbed(compress, tiny, tmp_path_factory):
    place = tmp_path_factory.mktemp("undisturbed") / "r"
    with pytest.raises(Trained):
        started(compress, tiny, place)
    return products(place)


def products(place):
    """What the trainings of a run make, and find."""
    hashes = {name: hashlib.sha256((place / name).read_bytes()).hexdigest() for name in PRODUCTS}
    return hashes, [json.loads((place / f"stages/{name}.json").read_text())["result"] for name in TRAINING]


def states_of(place):
    return sorted(path.parent.name.partition(".training-")[0] for path in place.rglob("*.state"))


def stop_at(stage, epochs, patch):
    """Interrupt the training of a stage when so many epochs are on disk; returns the epochs that are done after it."""
    keep, done = States.keep, []

    def kept(self, before, total, all_epochs, state):
        keep(self, before, total, all_epochs, state)
        done.append((self.folder.name.partition(".training-")[0], len(all_epochs)))
        if done[-1] == (stage, epochs):
            raise KeyboardInterrupt

    patch.setattr(States, "keep", kept)
    return done


@pytest.mark.parametrize("epochs", [1, 2])
@pytest.mark.parametrize("stage", TRAINING)
def test_an_interrupted_training_goes_on(run, complete, undisturbed, stage, epochs, monkeypatch):
    with monkeypatch.context() as patch:
        stop_at(stage, epochs, patch)
        assert run().exit_code != 0
    assert states_of(Path("r")) == [stage] * epochs
    with monkeypatch.context() as patch:
        seen = stop_at("none", 0, patch)
        complete()
    assert [count for name, count in seen if name == stage] == list(range(epochs + 1, 3))
    assert products(Path("r")) == undisturbed
    assert states_of(Path("r")) == []
    assert not list(Path("r").rglob("*.training-*"))


@pytest.mark.parametrize(("stage", "file"), [("fine-tune", "sparse.pt"), ("recover", "recovered.pt")])
def test_a_result_that_cannot_be_written_loses_no_training(run, complete, undisturbed, stage, file, monkeypatch):
    save = run_stages.save

    def full(network, path, **options):
        if path.name == file:
            raise OSError(28, "No space left on device")
        save(network, path, **options)

    with monkeypatch.context() as patch:
        patch.setattr(run_stages, "save", full)
        failed = run()
    assert failed.exit_code == 1
    assert KEPT.search(failed.error[-1])[1] == "2"
    assert Path(KEPT.search(failed.error[-1])[2]).is_dir()
    with monkeypatch.context() as patch:
        seen = stop_at("none", 0, patch)
        complete()
    assert stage not in dict(seen)
    assert products(Path("r")) == undisturbed


def test_states_stay_until_the_record_of_the_stage_is_there(run, complete, undisturbed, monkeypatch):
    write = folder.write_bytes

    def failing(path, content):
        if path.name == "fine-tune.json":
            raise KeyboardInterrupt
        write(path, content)

    with monkeypatch.context() as patch:
        patch.setattr(folder, "write_bytes", failing)
        assert run().exit_code != 0
    assert states_of(Path("r")) == ["fine-tune"] * 2
    complete()
    assert products(Path("r")) == undisturbed


def test_states_that_a_kill_left_behind_its_stage_are_removed(complete):
    complete()
    left = Path("r/stages/fine-tune.training-0123456789ab")
    left.mkdir()
    complete()
    assert not left.exists()
