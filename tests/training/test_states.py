"""A training that is interrupted anywhere goes on with the same bits, and never from a state that is not its own."""

from __future__ import annotations

import errno
import io
import shutil
import signal
from pathlib import Path

import pytest
import torch
from quadrant_samples import samples
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader

from compressor.checkpoints import Metadata, Network
from compressor.data.loaders import Loaders
from compressor.data.samples import Augmentation, DataSet
from compressor.errors import (
    CheckpointError,
    CompressorError,
    CompressorWarning,
    DamagedState,
    Diverged,
    UsageError,
)
from compressor.records.stages import FineTuning
from compressor.sources import Architecture
from compressor.splitting import SplittingConfig
from compressor.stages.fine_tune import fine_tune
from compressor.stopping import Stop, signals_as_exceptions
from compressor.tasks.classification import CLASSIFICATION
from compressor.training import states as states_module
from compressor.training.loop import Loop
from compressor.training.recipe import Recipe
from compressor.training.states import States, folders_of, remove_states

BASE = Path("result")
EPOCHS = 4


DATA = DataSet(
    ref="quadrants",
    train=samples(64, 0),
    val=samples(16, 1),
    test=samples(32, 2),
    classes=("a", "b", "c", "d"),
    normalization=None,
    augmentation=Augmentation(shift=1, flip=True),
    split_seed=0,
    val_fraction=0.1,
)


class Tripping(nn.Module):
    """Scores that are infinite in the given passes in training; the count is a buffer that no checkpoint has."""

    def __init__(self, passes):
        super().__init__()
        self.passes = passes
        self.count: torch.Tensor
        self.register_buffer("count", torch.zeros((), dtype=torch.int64), persistent=False)

    def forward(self, x):
        if self.training:
            self.count = self.count + 1
        return x * float("inf") if self.training and int(self.count) in self.passes else x


def network(seed=0, *, dropout=False, passes=(), zeros=False):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        layers = [
            nn.Conv2d(1, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU(),
            nn.Conv2d(8, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU(),
            nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(32, 4),
        ]  # fmt: skip
    if dropout:
        layers.insert(7, nn.Dropout(0.5))
    if passes:
        layers.append(Tripping(set(passes)))
    model = nn.Sequential(*layers)
    if zeros:
        with torch.no_grad():
            model[3].weight[2:5, 1:4] = 0
    return Network(model, Metadata(architecture=Architecture("tiny"), input_shape=(1, 8, 8)))


def recipe(**options):
    return Recipe(**({"epochs": EPOCHS, "batch_size": 16, "lr": 0.05, "device": "cpu"} | options))


# What is trained, how, and with which penalties.
CASES = {
    "channels and entries": ({}, {}, {"penalty": "l1-l2", "target_macs": 0.5}),
    "zeros": ({}, {}, {"target_macs": 0.5, "target_zeros": 0.6}),
    "paper": ({}, {}, {"method": "paper"}),
    "slimming": ({"passes": {6}}, {"ema": 0.9}, {"method": "slimming", "strength": 6.3, "beta": (10.0, 10.0)}),
    "zeros that stay": ({"zeros": True}, {}, {}),
    "dropout": ({"dropout": True}, {}, {"target_macs": 0.5}),
    "bf16": ({}, {"precision": "bf16"}, {"target_macs": 0.5}),
    "divergence": ({"passes": {6, 11}}, {}, {"target_macs": 0.5}),
    "teacher": ({}, {}, {"target_params": 0.6}),
    "average": ({"passes": {6}}, {"ema": 0.9, "schedule": "step"}, {"target_macs": 0.5}),
}


class Case:
    """One training, with everything that it is called with."""

    def __init__(self, name, optimizer):
        kind, options, penalties = CASES[name]
        rate = {"lr": 0.05} if optimizer == "sgd" else {"lr": 0.01}
        self.network, self.recipe = network(**kind), recipe(optimizer=optimizer, **rate, **options)
        self.penalties = SplittingConfig(**penalties)
        self.teacher = network(seed=5).model if name == "teacher" else None

    def train(self, states=None, **options):
        return fine_tune(
            self.network, DATA, self.recipe, self.penalties, teacher=self.teacher, states=states, **options
        )


class Killed(BaseException):
    """What ends a process at once: nothing that catches errors sees it."""


def same(one, other):
    pairs = zip(one.network.model.state_dict().values(), other.network.model.state_dict().values(), strict=True)
    return one.record == other.record and all(torch.equal(a, b) for a, b in pairs)


def kill(*args, **options):
    raise Killed


def killed_at(case, step, monkeypatch):
    """Train until the loss of step ``step``, counted from here, and leave the folder as a killed process does."""
    steps = iter(range(1, step))
    real = F.cross_entropy

    def counted(*args, **options):
        return kill() if next(steps, None) is None else real(*args, **options)

    with monkeypatch.context() as patch:
        patch.setattr(F, "cross_entropy", counted)
        # Not as a context manager: a process that is killed tidies nothing up.
        with pytest.raises(Killed):
            case.train(States(BASE))


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
@pytest.mark.parametrize("name", CASES)
def test_it_ends_with_the_same_bits_however_often_it_is_killed(name, optimizer, monkeypatch):
    case = Case(name, optimizer)
    undisturbed = case.train()
    # Steps from each beginning: in the first epoch, in the second, at the first step of the third, in the last.
    for step in (2, 7, 5, 7):
        killed_at(case, step, monkeypatch)
    with States(BASE) as states:
        assert same(case.train(states), undisturbed)
        lines = (states.folder / "metrics.jsonl").read_text().splitlines()
    assert len(lines) == len(undisturbed.record.epochs)
    if name == "divergence":
        assert undisturbed.record.undone


def stopped_at(case, step, monkeypatch):
    """Train until SIGTERM comes in the loss of step ``step``, counted from here."""
    steps, real = iter(range(1, step)), Loop._loss

    def counted(self, *args):
        if next(steps, None) is None:
            signal.raise_signal(signal.SIGTERM)
        return real(self, *args)

    with monkeypatch.context() as patch, signals_as_exceptions():
        patch.setattr(Loop, "_loss", counted)
        with pytest.raises(Stop) as caught, States(BASE) as states:
            case.train(states)
    return states.folder, caught.value


@pytest.mark.parametrize("name", CASES)
def test_it_ends_with_the_same_bits_however_often_it_is_stopped_within_an_epoch(name, monkeypatch):
    """In the first epoch, again in it, in the second, and before the validation of the third."""
    case = Case(name, "sgd")
    undisturbed = case.train()
    for step, told in ((1, "to 1 step of epoch 1 is"), (2, "to 3 steps of epoch 1 is"), (3, "epoch 1 and 2 steps of")):
        _, stop = stopped_at(case, step, monkeypatch)
        assert told in stop.__notes__[0]
    with States(BASE) as states:
        assert same(case.train(states), undisturbed)


def test_a_signal_while_an_epoch_is_validated_keeps_its_steps(case, undisturbed, monkeypatch):
    def told(*args, **options):
        signal.raise_signal(signal.SIGTERM)
        raise AssertionError("it waits")

    with monkeypatch.context() as patch, signals_as_exceptions():
        patch.setattr("compressor.training.loop.validated", told)
        with pytest.raises(Stop), States(BASE) as states:
            case.train(states)
    assert [path.name for path in states.folder.glob("*.state")] == ["epoch-000000-000000004.state"]
    steps, real = [], Loop._loss

    def counted(self, *args):
        steps.append(1)
        return real(self, *args)

    monkeypatch.setattr(Loop, "_loss", counted)
    assert same(case.train(States(BASE)), undisturbed)
    assert len(steps) == 3 * 4


def test_a_signal_between_epochs_keeps_what_was_not_due(case, undisturbed):
    def told(epoch):
        signal.raise_signal(signal.SIGTERM)

    with signals_as_exceptions(), pytest.raises(Stop) as caught, States(BASE, every=3) as states:
        case.train(states, on_epoch=told)
    assert caught.value.__notes__[0].startswith("the training up to epoch 1 is kept")
    assert [path.name for path in states.folder.glob("*.state")] == ["epoch-000001.state"]
    assert same(case.train(States(BASE, every=3)), undisturbed)


def test_a_second_signal_does_not_wait(case, monkeypatch):
    def twice(*args, **options):
        for _ in range(2):
            signal.raise_signal(signal.SIGTERM)
        raise AssertionError("it waits")

    monkeypatch.setattr(F, "cross_entropy", twice)
    with signals_as_exceptions(), pytest.raises(Stop), States(BASE) as states:
        case.train(states)
    assert not states.folder.exists()
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


@pytest.mark.parametrize("steps", [1, 3])
def test_states_within_an_epoch_cost_a_kill_few_steps(case, undisturbed, steps, monkeypatch):
    real, losses = Loop._loss, []

    def counted(self, *args):
        losses.append(1)
        if len(losses) == 8:
            raise Killed
        return real(self, *args)

    monkeypatch.setattr(Loop, "_loss", counted)
    with pytest.raises(Killed):
        case.train(States(BASE, steps=steps))
    (folder,) = folders_of(BASE)
    names = ["epoch-000001.state", "epoch-000001-000000003.state"]
    assert sorted(path.name for path in folder.glob("*.state")) == sorted(
        names if steps == 3 else ["epoch-000001-000000002.state", names[1]]
    )
    assert same(case.train(States(BASE, steps=steps)), undisturbed)
    # Seven were done, and the one in which it was killed is done again.
    assert len(losses) == 4 * EPOCHS + 1


BEGUN = {
    "no mapping": lambda run: run.update(begun=7),
    "steps are text": lambda run: run["begun"].update(steps="many"),
    "nothing to undo to": lambda run: run["begun"].pop("before"),
    "other weights to undo to": lambda run: run["begun"]["before"]["model"].popitem(),
    "shuffle": lambda run: run["begun"].update(shuffle=torch.zeros(3)),
    "loss": lambda run: run["begun"].update(loss="low"),
}


@pytest.mark.parametrize("way", BEGUN)
def test_a_damaged_epoch_that_was_begun_is_one_line(case, way, monkeypatch):
    folder, _ = stopped_at(case, 3, monkeypatch)
    (path,) = folder.glob("*.state")
    content = torch.load(io.BytesIO(path.read_bytes()[states_module.DIGEST_BYTES :]), weights_only=True)
    BEGUN[way](content["run"])
    states_module._write(path, content)
    with pytest.raises(DamagedState, match="the state of the training"):
        case.train(States(BASE))


def test_a_users_batches_are_gone_through_to_where_it_was(monkeypatch):
    """What their loader draws goes on as well, and the batches that are done are not trained on again."""
    drawn = DataLoader(Noisy(), 8, shuffle=True)
    data = Loaders(ref="own.py:loaders", train=drawn, val=[*drawn][:1], test=[*drawn][:1], task=CLASSIFICATION)
    monkeypatch.setattr("test_states.DATA", data)
    case = Case("dropout", "sgd")
    undisturbed = case.train()
    stopped_at(case, 3, monkeypatch)
    stopped_at(case, 7, monkeypatch)
    with States(BASE) as states:
        assert same(case.train(states), undisturbed)


class Noisy(torch.utils.data.Dataset):
    """Images with noise that the loader's process draws."""

    def __len__(self):
        return 40

    def __getitem__(self, index):
        generator = torch.Generator().manual_seed(index)
        return torch.rand(1, 8, 8, generator=generator) + 0.1 * torch.rand(1, 8, 8), index % 4


@pytest.mark.parametrize("epoch", range(1, EPOCHS + 1))
def test_it_goes_on_after_every_epoch(epoch):
    case = Case("channels and entries", "sgd")
    undisturbed = case.train()

    def stop(done):
        if done.epoch == epoch:
            raise Killed  # its figures are written, its state is not

    with pytest.raises(Killed):
        case.train(States(BASE), on_epoch=stop)
    (folder,) = folders_of(BASE)
    assert (folder / "metrics.jsonl").read_text().count("\n") == epoch
    seen = []
    with States(BASE) as states:
        assert same(case.train(states, on_epoch=seen.append), undisturbed)
        assert (states.folder / "metrics.jsonl").read_text().count("\n") == EPOCHS
    assert [done.epoch for done in seen] == list(range(epoch, EPOCHS + 1))


@pytest.fixture
def case():
    return Case("channels and entries", "sgd")


@pytest.fixture
def undisturbed(case):
    return case.train()


def test_a_finished_training_is_only_projected(case, undisturbed, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr("compressor.stages.fine_tune._projected", kill)
        with pytest.raises(Killed):
            case.train(States(BASE))
    seen = []
    assert same(case.train(States(BASE), on_epoch=seen.append), undisturbed)
    assert seen == []


def test_a_kill_while_a_state_is_written_costs_one_epoch(case, undisturbed, monkeypatch):
    written = []

    def dying(path, content):
        written.append(path)
        if len(written) == 3:
            path.with_name(f".{path.name}.abc.part").write_bytes(b"half")
            raise Killed
        return write(path, content)

    write = states_module._write
    with monkeypatch.context() as patch:
        patch.setattr(states_module, "_write", dying)
        with pytest.raises(Killed):
            case.train(States(BASE))
    seen = []
    assert same(case.train(States(BASE), on_epoch=seen.append), undisturbed)
    assert [epoch.epoch for epoch in seen] == [3, 4]
    (folder,) = folders_of(BASE)
    assert not list(folder.glob(".*"))


def interrupted(case, epochs=2, **options):
    """The folder of a training that was interrupted when so many ``epochs`` were on disk."""

    def stop(epoch):
        if epoch.epoch > epochs:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as caught, States(BASE, **options) as states:
        case.train(states, on_epoch=stop)
    return states.folder, caught.value


def test_the_last_two_states_are_kept(case):
    folder, _ = interrupted(case, 3)
    assert sorted(path.name for path in folder.glob("*.state")) == ["epoch-000002.state", "epoch-000003.state"]


def test_an_interrupt_says_what_is_kept_and_where(case):
    folder, stop = interrupted(case, 3)
    told = f"the training up to epoch 3 is kept in {folder}, and the same command goes on from there"
    assert stop.__notes__ == [told]


def test_an_interrupt_before_any_state_leaves_nothing(case):
    folder, stop = interrupted(case, 0)
    assert not folder.exists()
    assert not hasattr(stop, "__notes__")


def test_fewer_states_are_kept_when_so_asked_but_always_the_last(case):
    folder, _ = interrupted(case, 3, every=3)
    assert [path.name for path in folder.glob("*.state")] == ["epoch-000003.state"]
    case.train(States(BASE, every=3))
    assert sorted(path.name for path in folder.glob("*.state")) == ["epoch-000003.state", "epoch-000004.state"]


def test_rows_of_epochs_beyond_the_state_are_cut_off(case, undisturbed):
    folder, _ = interrupted(case, 3, every=2)
    assert (folder / "metrics.jsonl").read_text().count("\n") == 4
    with States(BASE) as states:
        assert same(case.train(states), undisturbed)
    assert (folder / "metrics.jsonl").read_text().count("\n") == EPOCHS


@pytest.mark.parametrize("every", [0, -1])
def test_states_are_written_at_least_now_and_then(every):
    with pytest.raises(UsageError, match=f"--checkpoint-every must be at least 1, got {every}"):
        States(BASE, every=every)
    with pytest.raises(UsageError, match=f"--checkpoint-steps must be at least 1, got {every}"):
        States(BASE, steps=every)


def spoil(path, way):
    content = path.read_bytes()
    middle = len(content) // 2
    ways = {
        "cut": content[:middle],
        "flipped": content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :],
        "empty": b"",
        "longer": content + b"more",
    }
    path.write_bytes(ways[way])


@pytest.mark.parametrize("way", ["cut", "flipped", "empty", "longer"])
def test_a_damaged_state_falls_back_to_the_one_before(case, undisturbed, way):
    folder, _ = interrupted(case, 3)
    spoil(folder / "epoch-000003.state", way)
    seen = []
    with pytest.warns(CompressorWarning, match=r"epoch-000003\.state is damaged; the training goes on from the state"):
        assert same(case.train(States(BASE), on_epoch=seen.append), undisturbed)
    assert [epoch.epoch for epoch in seen] == [3, 4]


def test_two_damaged_states_start_again(case, undisturbed):
    folder, _ = interrupted(case, 3)
    for path in folder.glob("*.state"):
        spoil(path, "flipped")
    seen = []
    with pytest.warns(CompressorWarning) as told:
        assert same(case.train(States(BASE), on_epoch=seen.append), undisturbed)
    assert len(told) == 2
    assert [epoch.epoch for epoch in seen] == [1, 2, 3, 4]


def test_a_state_cannot_hold_code(case, tmp_path):
    class Harm:
        def __reduce__(self):
            return Path.touch, (tmp_path / "harm",)

    folder, _ = interrupted(case, 3)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(states_module.msgspec.json, "encode", lambda course: b"{}")
    for path in folder.glob("*.state"):
        states_module._write(path, {"format": states_module.FORMAT, "settings": Harm(), "course": "", "run": {}})
    with pytest.warns(CompressorWarning, match="is damaged: it is no state of a training"):
        case.train(States(BASE))
    assert not (tmp_path / "harm").exists()


OTHERS = {
    "weights": lambda case: setattr(case, "network", network(seed=1)),
    "epochs": lambda case: setattr(case, "recipe", recipe(epochs=5)),
    "seed": lambda case: setattr(case, "recipe", recipe(seed=1)),
    "learning rate": lambda case: setattr(case, "recipe", recipe(lr=0.04)),
    "schedule": lambda case: setattr(case, "recipe", recipe(schedule="step")),
    "average": lambda case: setattr(case, "recipe", recipe(ema=0.9)),
    "share of the teacher": lambda case: setattr(case, "recipe", recipe(teacher_share=0.9)),
    "penalty": lambda case: setattr(case, "penalties", SplittingConfig(target_macs=0.5)),
    "target": lambda case: setattr(case, "penalties", SplittingConfig(penalty="l1-l2", target_macs=0.6)),
    "teacher": lambda case: setattr(case, "teacher", network(seed=5).model),
    "frozen": lambda case: case.network.model[8].bias.requires_grad_(False),
}


@pytest.mark.parametrize("change", OTHERS)
def test_other_settings_have_states_of_their_own(case, change):
    folder, _ = interrupted(case)
    OTHERS[change](case)
    seen = []
    with (
        pytest.warns(CompressorWarning, match=f"{folder} holds an unfinished training with other settings"),
        States(BASE) as states,
    ):
        case.train(states, on_epoch=seen.append)
    assert [epoch.epoch for epoch in seen] == list(range(1, case.recipe.epochs + 1))
    assert states.folder != folder
    assert folder.exists()


@pytest.mark.parametrize("part", ["train", "val", "test"])
def test_other_data_have_states_of_their_own(case, part):
    folder, _ = interrupted(case)
    data = DataSet(**(vars(DATA) | {part: samples(48, 9)}))
    with pytest.warns(CompressorWarning, match="with other settings"):
        fine_tune(case.network, data, case.recipe, case.penalties, states=(states := States(BASE)))
    assert states.folder != folder


def test_another_device_goes_on_with_the_same_states(case):
    folder, _ = interrupted(case)
    case.recipe = recipe(device="auto")
    states = States(BASE)
    case.train(states)
    assert states.folder == folder


def test_states_moved_into_the_folder_of_other_settings_are_refused(case):
    folder, _ = interrupted(case)
    case.recipe = recipe(seed=1)
    states = States(BASE)
    with pytest.warns(CompressorWarning, match="with other settings"):
        case.train(states)
    shutil.rmtree(states.folder)
    shutil.move(folder, states.folder)
    with pytest.raises(UsageError, match=r"epoch-000002\.state belongs to a training with other settings"):
        case.train(States(BASE))


def test_the_groups_are_decided_once(case, undisturbed, monkeypatch):
    interrupted(case)
    # What probing leaves out can depend on how busy the machine is.
    monkeypatch.setattr("compressor.groups.known.find_groups", lambda *args: 1 / 0)
    monkeypatch.setattr("compressor.splitting.prunable.find_groups", lambda *args: 1 / 0)
    assert same(case.train(States(BASE)), undisturbed)


def test_the_metric_before_is_measured_once(case, undisturbed, monkeypatch):
    interrupted(case, 3)
    record = case.train(States(BASE)).record
    assert record.before == undisturbed.record.before


def full_at(count, patch):
    """A disk that takes ``count`` states, and of the next only half."""
    real, files = Path.open, []

    class Full:
        def __init__(self, file):
            self.file, self.parts = file, 0

        def __enter__(self):
            return self

        def __exit__(self, *args):
            self.file.close()

        def write(self, content):
            self.parts += 1
            if self.parts > 1:
                self.file.write(bytes(content)[: len(content) // 2])
                raise OSError(errno.ENOSPC, "No space left on device")
            return self.file.write(content)

    def opened(self, mode="r", *args, **options):
        file = real(self, mode, *args, **options)
        if ".state." not in self.name or mode != "wb":
            return file
        files.append(self)
        return Full(file) if len(files) > count else file

    patch.setattr(Path, "open", opened)


def test_a_disk_that_fills_up_ends_the_training_with_what_there_is(case, undisturbed, monkeypatch):
    told = r"cannot write .*epoch-000003\.state: No space left on device"
    with monkeypatch.context() as patch:
        full_at(2, patch)
        with pytest.raises(CompressorError, match=told) as caught, States(BASE) as states:
            case.train(states)
    assert caught.value.__notes__ == [
        f"the training up to epoch 2 is kept in {states.folder}, and the same command goes on from there"
    ]
    assert not list(states.folder.glob(".*.part"))
    assert same(case.train(States(BASE)), undisturbed)


def test_too_little_space_is_told_before_the_training(case, monkeypatch):
    monkeypatch.setattr(states_module.shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10**9, 10**9, 10**3))
    epochs = []
    with pytest.raises(CompressorError, match=r"training needs 0\.0\d MB in \. for its states"), States(BASE) as states:
        case.train(states, on_epoch=epochs.append)
    assert epochs == []
    assert not list(Path().iterdir())


def test_the_space_of_the_states_themselves_counts_as_free(case, undisturbed, monkeypatch):
    interrupted(case, 3)
    monkeypatch.setattr(states_module.shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10**9, 10**9, 0))
    monkeypatch.setattr("compressor.stages.fine_tune._space", lambda model, recipe: 10**4)
    assert same(case.train(States(BASE)), undisturbed)


def test_a_training_that_diverges_for_good_leaves_nothing():
    case = Case("zeros that stay", "sgd")
    case.network = network(passes=range(9, 1000))
    with pytest.raises(Diverged, match="use a smaller --lr") as caught, States(BASE) as states:
        case.train(states)
    assert not states.folder.exists()
    assert not hasattr(caught.value, "__notes__")


def test_a_divergence_is_not_forgotten():
    """One that was undone counts among the retries of the training that goes on."""
    case = Case("zeros that stay", "sgd")
    # Four bad passes, each in the first attempt at its epoch.
    case.network = network(passes={2, 10, 18, 26})
    with pytest.raises(Diverged, match="training diverged 4 times"):
        case.train()

    def stop(epoch):
        if epoch.epoch == 3 and not epoch.lr_halved:
            raise Killed

    with pytest.raises(Killed):
        case.train(States(BASE), on_epoch=stop)
    with pytest.raises(Diverged, match="training diverged 4 times"):
        case.train(States(BASE))


def test_all_states_of_a_base_are_removed_and_no_others(case):
    interrupted(case)
    kept = [Path("result2.training-000000000000"), Path("result"), Path("result.training.pt")]
    for path in kept:
        path.mkdir()
    remove_states(BASE)
    assert sorted(Path().iterdir()) == sorted(kept)


def test_the_newest_state_goes_last(case, monkeypatch):
    """Killed while it tidies up, a training is found at its end, and ends again."""
    folder, _ = interrupted(case, 2)
    left = []
    monkeypatch.setattr(
        states_module, "remove_folder", lambda path: left.append(sorted(p.name for p in folder.iterdir()))
    )
    states = States(BASE)
    states._folder = folder
    states.remove()
    assert left[-1] == ["epoch-000002.state", *(name for name in left[-1] if not name.endswith(".state"))]


def test_a_record_is_plain_data_in_a_state(case, undisturbed):
    _, _ = interrupted(case, 3)
    record = case.train(States(BASE)).record
    assert isinstance(record, FineTuning)
    assert record.epochs == undisturbed.record.epochs


DAMAGES = {
    "no model": lambda run: run.update(model={}),
    "another shape": lambda run: run["model"].update({next(iter(run["model"])): torch.zeros(1)}),
    "a rate that is text": lambda run: run.update(rates=["x" for _ in run["rates"]]),
    "a step that is none": lambda run: run.update(step=None),
    "more rates": lambda run: run["rates"].append(0.1),
    "momentum that is a number": lambda run: run["optimizer"]["state"][0].update(momentum_buffer="x"),
    "momentum of another shape": lambda run: run["optimizer"]["state"][0].update(momentum_buffer=torch.zeros(7)),
    "an optimizer's entry that is text": lambda run: run["optimizer"]["state"].update({0: "x"}),
    "an entry of no parameter": lambda run: run["optimizer"]["state"].update({99: {}}),
    "another damping": lambda run: run["optimizer"]["param_groups"][0].update(dampening=1e300),
    "a rate of no training": lambda run: run["optimizer"]["param_groups"][0].update(lr=1e300),
    "a rate that is no number": lambda run: run["optimizer"]["param_groups"][0].update(lr=float("nan")),
    "a first rate of no training": lambda run: run.update(rates=[1e300]),
    "a group without a rate": lambda run: run["optimizer"]["param_groups"][0].pop("lr"),
    "another generator": lambda run: run.update(shuffle=torch.zeros(3, dtype=torch.uint8)),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES.keys())
def test_a_state_that_does_not_fit_is_one_line(case, damage):
    folder, _ = interrupted(case, 2)
    path = folder / "epoch-000002.state"
    state = torch.load(states_module.io.BytesIO(path.read_bytes()[32:]), weights_only=True)
    damage(state["run"])
    states_module._write(path, state)
    match = r"^the state of the training is damaged: .+"
    with pytest.raises(CheckpointError, match=match) as caught, States(BASE) as states:
        case.train(states)
    assert "\n" not in str(caught.value)
    assert caught.value.__notes__ == [f"remove {folder} to start the training again"]
