"""Tensors load beside objects of classes that only their own code could read; none of that code runs."""

from __future__ import annotations

import argparse
import collections
import datetime
import enum
import pathlib
import pickle
import sys
import types

import numpy as np
import pytest
import torch
from torch import nn

from compressor import load
from compressor.checkpoints import fresh
from compressor.checkpoints.pickles import Skipped, read_pickled
from compressor.errors import CheckpointError, CompressorWarning, UsageError


class Colour(enum.Enum):
    RED = 1


class OwnDict(dict):
    pass


class OwnList(list):
    pass


class Noisy:
    """Leaves a file behind whenever any of its code runs."""

    def __init__(self, place):
        self.place = place

    def __setstate__(self, state):
        pathlib.Path(state["place"]).touch()

    def __reduce__(self):
        return make_noise, (self.place,), {"place": self.place}


def make_noise(place):
    pathlib.Path(place).touch()
    return Noisy(place)


@pytest.fixture
def state():
    return fresh("lenet5").model.state_dict()


def scheduler():
    return torch.optim.lr_scheduler.StepLR(torch.optim.SGD([nn.Parameter(torch.ones(2))], lr=0.1), 1)


OBJECTS = {
    "namespace": (lambda: argparse.Namespace(lr=0.1, out=pathlib.Path("a/b")), "argparse.Namespace"),
    "path": (lambda: pathlib.PurePosixPath("a"), "pathlib.PurePosixPath"),
    "numpy number": (lambda: np.float64(0.5), "numpy.*scalar"),
    "numpy array": (lambda: np.arange(3), "numpy.*_reconstruct"),
    "enumeration": (lambda: Colour.RED, "test_checkpoint_other_objects.Colour"),
    "date": (lambda: datetime.datetime(2026, 1, 1), "datetime.datetime"),
    "builtin": (lambda: range(3), "builtins.range"),
    "function": (lambda: torch.nn.functional.relu, "torch.nn.functional.relu"),
    "scheduler": (scheduler, "torch.optim.lr_scheduler.StepLR"),
    "deep": (lambda: [{"a": (argparse.Namespace(),)}], "argparse.Namespace"),
}


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
@pytest.mark.parametrize(("made", "name"), OBJECTS.values(), ids=OBJECTS.keys())
def test_tensors_beside_other_objects_load_and_the_rest_is_named(tmp_path, state, made, name, zipped):
    content = {"args": made(), "epoch": 3, "model": state}
    torch.save(content, tmp_path / "m.pt", _use_new_zipfile_serialization=zipped)
    with pytest.warns(CompressorWarning, match=rf"m\.pt: skipped args \({name}\): only the tensors are read$"):
        model = load(tmp_path / "m.pt", arch="lenet5").model
    assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items())


@pytest.mark.parametrize(
    "made", [lambda: collections.defaultdict(list, {1: [2]}), lambda: OwnDict(a=1), lambda: OwnList([1, 2])]
)
def test_containers_of_other_classes_are_read_as_plain_ones(tmp_path, state, made):
    torch.save({"args": made(), "model": state}, tmp_path / "m.pt")
    content, names = read_pickled(tmp_path / "m.pt")
    assert content["args"] == made()
    assert type(content["args"]) in {dict, list}
    assert names
    assert load(tmp_path / "m.pt", arch="lenet5").model


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
@pytest.mark.parametrize("wrap", [lambda x: x, lambda x: [x], lambda x: {"a": (x, x)}, lambda x: {x.place: [x]}])
def test_code_beside_tensors_does_not_run(tmp_path, state, wrap, zipped):
    torch.save({"x": wrap(Noisy(str(tmp_path / "noise"))), "model": state}, tmp_path / "m.pt", pickle_module=pickle,
               _use_new_zipfile_serialization=zipped)  # fmt: skip
    with pytest.warns(CompressorWarning, match=r"skipped x \(test_checkpoint_other_objects.make_noise\)"):
        load(tmp_path / "m.pt", arch="lenet5")
    assert not (tmp_path / "noise").exists()


def test_no_module_that_a_file_names_is_imported(tmp_path, state, monkeypatch):
    """Importing is running: a class of a module that is not loaded stays unread."""
    module, thing = types.ModuleType("never_imported"), type("Thing", (), {"__module__": "never_imported"})
    monkeypatch.setattr(module, "Thing", thing, raising=False)
    monkeypatch.setitem(sys.modules, "never_imported", module)
    torch.save({"x": thing(), "model": state}, tmp_path / "m.pt")
    monkeypatch.delitem(sys.modules, "never_imported")
    (tmp_path / "never_imported.py").write_text("raise SystemExit('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.warns(CompressorWarning, match=r"skipped x \(never_imported.Thing\)"):
        load(tmp_path / "m.pt", arch="lenet5")
    assert "never_imported" not in sys.modules


def test_stand_ins_keep_nothing_and_last_no_longer_than_the_reading(tmp_path, state):
    torch.save({"args": argparse.Namespace(secret="x"), "model": state}, tmp_path / "m.pt")
    before = set(torch.serialization.get_safe_globals())
    content, names = read_pickled(tmp_path / "m.pt")
    assert names == ["argparse.Namespace"]
    assert isinstance(content["args"], Skipped)
    assert not hasattr(content["args"], "secret")
    assert not hasattr(content["args"], "__dict__")
    assert set(torch.serialization.get_safe_globals()) == before


@pytest.mark.parametrize(
    "made",
    [
        lambda state: nn.Linear(2, 2),
        lambda state: {"model": nn.Linear(2, 2)},
        lambda state: {"model": argparse.Namespace(w=torch.zeros(2))},
        lambda state: argparse.Namespace(model=state),
        lambda state: {"model": {key: value.numpy() for key, value in state.items()}},
    ],
)
def test_tensors_inside_other_objects_are_refused(tmp_path, state, made):
    torch.save(made(state), tmp_path / "m.pt")
    with pytest.raises(CheckpointError, match=r"is refused: .* save the tensors alone, with torch\.save\(model\.state"):
        load(tmp_path / "m.pt", arch="lenet5")


def test_a_tensor_of_another_class_is_refused(tmp_path, state, monkeypatch):
    class Own(torch.Tensor):
        pass

    Own.__module__, Own.__qualname__ = __name__, "Own"
    monkeypatch.setattr(sys.modules[__name__], "Own", Own, raising=False)
    torch.save({"model": {**state, "fc2.bias": state["fc2.bias"].as_subclass(Own)}}, tmp_path / "m.pt")
    with pytest.raises(CheckpointError, match=r"is refused: .*Own\); save the tensors alone"):
        load(tmp_path / "m.pt", arch="lenet5")


def test_names_in_blocked_modules_are_refused_beside_whatever_tensors(tmp_path, state):
    torch.save({"x": sys.exit, "model": state}, tmp_path / "m.pt")
    with pytest.raises(CheckpointError, match=r"is refused: .* it names \(sys.exit\)"):
        load(tmp_path / "m.pt", arch="lenet5")


def test_very_many_other_classes_are_refused(tmp_path, state, monkeypatch):
    kinds = [type(f"Kind{number}", (), {"__module__": __name__}) for number in range(100)]
    for kind in kinds:
        monkeypatch.setattr(sys.modules[__name__], kind.__name__, kind, raising=False)
    torch.save({"x": [kind() for kind in kinds], "model": state}, tmp_path / "m.pt")
    with pytest.raises(CheckpointError, match="is refused"):
        load(tmp_path / "m.pt", arch="lenet5")


@pytest.mark.parametrize("key", ["ema", "ema.inner", "outer.ema", "outer.with.dots.ema"])
def test_state_key_says_where_the_tensors_lie(tmp_path, state, key):
    content: dict = {"epoch": 1}
    outer, _, last = key.rpartition(".")
    holder = content if not outer else content.setdefault(outer, {})
    holder[last] = state
    torch.save({**content, "model": {"w": torch.zeros(1)}}, tmp_path / "m.pt")
    model = load(tmp_path / "m.pt", arch="lenet5", state_key=key).model
    assert torch.equal(model.fc2.bias, state["fc2.bias"])


@pytest.mark.parametrize("key", ["", ".", "nope", "ema.nope", "epoch", "\x1b[31m"])
def test_wrong_state_key_proposes_those_that_are_there(tmp_path, state, key):
    torch.save({"ema": {"inner": state}, "epoch": 1}, tmp_path / "m.pt")
    with pytest.raises(UsageError, match=r"^--state-key .* has no tensors there; pass --state-key with one of ema"):
        load(tmp_path / "m.pt", arch="lenet5", state_key=key)


def test_state_dict_under_an_unusual_name_is_proposed(tmp_path, state):
    torch.save({"ema": {"inner": state}, "swa": state}, tmp_path / "m.pt")
    with pytest.raises(CheckpointError, match=r"no state dict: .*; pass --state-key with one of swa, ema\.inner$"):
        load(tmp_path / "m.pt", arch="lenet5")


def test_state_key_of_a_file_of_ours_is_refused(tmp_path, whole):
    torch.save(whole, tmp_path / "m.pt")
    with pytest.raises(UsageError, match="--state-key state is for files of other projects"):
        load(tmp_path / "m.pt", state_key="state")


@pytest.mark.parametrize("prefix", ["model.", "net.", "network.", "backbone.", "module.model.", "model._orig_mod."])
def test_prefix_of_a_trainers_module_is_removed(tmp_path, state, prefix):
    torch.save({"state_dict": {prefix + key: value for key, value in state.items()}}, tmp_path / "m.pt")
    assert torch.equal(load(tmp_path / "m.pt", arch="lenet5").model.fc2.bias, state["fc2.bias"])


def test_prefix_that_is_the_networks_own_stays(tmp_path):
    file = tmp_path / "net.py"
    file.write_text(
        "from torch import nn\n"
        "def build():\n    network = nn.Module()\n    network.model = nn.Linear(2, 2)\n"
        "    network.forward = network.model.forward\n    network.input_shape = (2,)\n    return network\n"
    )
    state = {"model.weight": torch.ones(2, 2), "model.bias": torch.ones(2)}
    torch.save(state, tmp_path / "m.pt")
    assert load(tmp_path / "m.pt", arch=f"{file}:build").model.model.weight.sum() == 4


def test_what_stands_beside_the_network_is_left_out_and_told(tmp_path, state):
    content = {**{f"model.{key}": value for key, value in state.items()}, "loss.weight": torch.ones(3)}
    torch.save({"state_dict": content}, tmp_path / "m.pt")
    with pytest.warns(CompressorWarning, match=r"left out what is not under model\.: loss\.weight$"):
        load(tmp_path / "m.pt", arch="lenet5")


def test_of_many_mismatches_three_are_named_with_a_hint(tmp_path):
    torch.save(fresh("resnet20").model.state_dict(), tmp_path / "m.pt")
    with pytest.raises(CheckpointError) as caught:
        load(tmp_path / "m.pt", arch="resnet32")
    assert str(caught.value) == (
        f"{tmp_path / 'm.pt'} does not fit resnet32: missing (60): layer1.3.bn1.bias, layer1.3.bn1.running_mean, "
        "layer1.3.bn1.running_var and 57 more; its tensors fit --arch resnet20"
    )


def test_names_that_are_all_different_hint_at_another_network(tmp_path):
    torch.save({"a.weight": torch.ones(2, 2)}, tmp_path / "m.pt")
    with pytest.raises(CheckpointError, match="; no name is the same, so --arch names another network, or --state-key"):
        load(tmp_path / "m.pt", arch="lenet5")
