from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from compressor.errors import UnknownName, UsageError
from compressor.sources import SOURCES, Architecture, input_shape_of

CODE = """
from pathlib import Path
from torch import nn

Path({witness!r}).write_text("run")

def net(width=3, *, bias=True):
    return nn.Linear(2, width, bias=bias)

def number():
    return 5

def broken():
    raise RuntimeError("no such width")

class Net(nn.Linear):
    def __init__(self, width=4):
        super().__init__(2, width)

constant = 5
"""


@pytest.fixture
def user(tmp_path, monkeypatch):
    """A user's folder with one file of code that leaves a witness when it is run."""
    witness = tmp_path / "witness"
    file = tmp_path / "own_networks.py"
    file.write_text(CODE.format(witness=str(witness)))
    monkeypatch.syspath_prepend(tmp_path)
    # The source itself may put the current folder on the path.
    monkeypatch.setattr(sys, "path", [*sys.path])
    for name in ("own_networks", "compressor_user_own_networks"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return SimpleNamespace(file=file, witness=witness, refs=(f"{file}:", "own_networks:"))


def build(ref, **args):
    return Architecture(ref, args).build(trust=True)


@pytest.mark.parametrize(
    ("ref", "source"),
    [
        ("resnet20", "builtin"),
        ("torchvision:resnet18", "torchvision"),
        ("timm:resnet50", "timm"),
        ("package.module:factory", "module"),
        ("module:factory", "module"),
        ("path/to/file.py:factory", "file"),
        ("file.py", "file"),
    ],
)
def test_reference_says_its_source(ref, source):
    assert Architecture(ref).source == source
    assert source in SOURCES


@pytest.mark.parametrize(("ref", "runs"), [("resnet20", False), ("timm:a", False), ("a:b", True), ("a.py:b", True)])
def test_only_files_and_modules_run_user_code(ref, runs):
    assert Architecture(ref).runs_user_code is runs


def test_builtin_takes_its_arguments_and_needs_no_trust():
    assert Architecture("lenet5", {"num_classes": 3}).build().fc2.out_features == 3


@pytest.mark.parametrize("place", [0, 1], ids=["file", "module"])
@pytest.mark.parametrize(("factory", "width"), [("net", 3), ("Net", 4)])
def test_factory_of_the_user_is_called_when_trusted(user, place, factory, width):
    assert build(user.refs[place] + factory).out_features == width


@pytest.mark.parametrize("place", [0, 1], ids=["file", "module"])
def test_arguments_reach_the_factory_of_the_user(user, place):
    network = build(f"{user.refs[place]}net", width=7, bias=False)
    assert (network.out_features, network.bias) == (7, None)


@pytest.mark.parametrize("place", [0, 1], ids=["file", "module"])
def test_code_of_the_user_is_not_run_without_trust(user, place):
    ref = f"{user.refs[place]}net"
    with pytest.raises(UsageError) as caught:
        Architecture(ref).build()
    assert not user.witness.exists()
    assert f"architecture {ref!r} would run code" in str(caught.value)
    assert f"pass --arch {ref} or --trust-arch" in str(caught.value)


@pytest.mark.parametrize("place", [0, 1], ids=["file", "module"])
def test_code_of_the_user_is_run_with_trust(user, place):
    build(f"{user.refs[place]}net")
    assert user.witness.read_text() == "run"


@pytest.mark.parametrize("place", [0, 1], ids=["file", "module"])
def test_wrong_argument_is_refused_with_those_the_factory_takes(user, place):
    with pytest.raises(UsageError, match=r"--arch-arg does not fit .*:net: .*'depth'; it takes width, bias$"):
        build(f"{user.refs[place]}net", depth=3)


@pytest.mark.parametrize("place", [0, 1], ids=["file", "module"])
def test_unknown_factory_is_refused_with_those_there_are(user, place):
    with pytest.raises(UsageError, match=r"has no factory 'nett'; it has: Net, broken, net, number$"):
        build(f"{user.refs[place]}nett")


@pytest.mark.parametrize("place", [0, 1], ids=["file", "module"])
def test_attribute_that_cannot_be_called_is_no_factory(user, place):
    with pytest.raises(UsageError, match="has no factory 'constant'"):
        build(f"{user.refs[place]}constant")


@pytest.mark.parametrize("place", [0, 1], ids=["file", "module"])
def test_factory_that_gives_no_module_is_refused(user, place):
    with pytest.raises(UsageError, match=r"returned a int; a torch\.nn\.Module is needed"):
        build(f"{user.refs[place]}number")


@pytest.mark.parametrize("place", [0, 1], ids=["file", "module"])
def test_factory_that_fails_is_told_in_one_line(user, place):
    with pytest.raises(UsageError, match=r"broken failed with \(\): RuntimeError: no such width"):
        build(f"{user.refs[place]}broken")


def test_wrong_argument_of_a_builtin_is_refused_with_those_it_takes():
    with pytest.raises(
        UsageError, match=r"--arch-arg does not fit lenet5: .*'depth'; it takes num_classes, in_channels$"
    ):
        Architecture("lenet5", {"depth": 3}).build()


@pytest.mark.parametrize("value", [-1, "ten", None])
def test_argument_of_a_wrong_value_is_refused_with_the_value(value):
    with pytest.raises(UsageError, match=rf"lenet5 failed with \(num_classes={value!r}\): "):
        Architecture("lenet5", {"num_classes": value}).build()


def test_unknown_builtin_suggests_the_nearest():
    with pytest.raises(UnknownName, match=r"no architecture is called 'resnet-20'. Did you mean 'resnet20'\?"):
        Architecture("resnet-20").build()


def test_missing_file_is_named():
    with pytest.raises(UsageError, match=r"architecture file nowhere/net\.py does not exist"):
        build("nowhere/net.py:net")


def test_missing_module_is_named():
    with pytest.raises(UsageError, match="cannot import 'no_such_module' for architecture 'no_such_module:net'"):
        build("no_such_module:net")


@pytest.mark.parametrize(("ref", "right"), [("net.py", "net.py:factory"), ("module:", "package.module:factory")])
def test_reference_without_a_factory_is_refused_with_the_right_form(ref, right):
    with pytest.raises(UsageError, match=f"architecture '{ref}' names no factory; write {right}"):
        build(ref)


def test_reference_without_a_module_is_refused():
    with pytest.raises(UsageError, match="cannot import '' for architecture ':net'"):
        build(":net")


@pytest.mark.parametrize("code", ["1 / 0", "import no_such_module", "def net(:", "raise KeyError('x')"])
@pytest.mark.parametrize("place", [0, 1], ids=["file", "module"])
def test_code_that_fails_when_run_is_told_in_one_line(user, place, code):
    user.file.write_text(code)
    reason = {"1": "ZeroDivisionError", "i": "ModuleNotFoundError", "d": "SyntaxError", "r": "KeyError"}[code[0]]
    with pytest.raises(UsageError, match=f"(failed when it was run|cannot import .*): {reason}"):
        build(f"{user.refs[place]}net")


def test_file_without_a_single_factory_says_so(user):
    user.file.write_text("")
    with pytest.raises(UsageError, match="has no factory 'net'; it has: none"):
        build(f"{user.file}:net")


def test_input_shape_of_a_network_that_declares_none_is_none():
    assert input_shape_of(nn.Linear(2, 2)) is None


def test_build_gives_new_random_weights_every_time():
    one, other = Architecture("lenet5").build(), Architecture("lenet5").build()
    assert not torch.equal(one.fc2.weight, other.fc2.weight)
