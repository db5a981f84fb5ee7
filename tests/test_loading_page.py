"""The loader of docs/loading.md, run as it stands there in a process that knows torch alone."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

import compressor
from compressor import load, save
from compressor.architectures import cifar_resnet, lenet
from compressor.checkpoints import fresh
from compressor.equivalence import outputs, relative_difference
from compressor.groups import find_groups, zero
from compressor.shrinking import remove_zero_channels

PAGE = Path(compressor.__file__).parent.parent / "docs" / "loading.md"
LOADER = next(
    block for block in re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL) if "def reload" in block
)
USE = """
import importlib, sys
file, module, inputs, found = sys.argv[1:]
architecture = torch.load(file, weights_only=True)["header"]["architecture"]
factory = architecture["ref"].rpartition(":")[2]
model = reload(file, getattr(importlib.import_module(module), factory)(**architecture["args"]))
assert not [name for name in sys.modules if name.partition(".")[0] == "compressor"]
with torch.no_grad():
    torch.save(model(torch.load(inputs, weights_only=True)), found)
"""
FOREIGN = '''
import torch
from torch import nn
from torch.nn import functional as F


class Shortcut(nn.Module):
    """Widths that are written into its code."""

    def forward(self, x):
        return F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 4, 4))


class Net(nn.Module):
    _version = 2

    def _load_from_state_dict(self, state, prefix, metadata, *rest):
        assert metadata["version"] == 2
        super()._load_from_state_dict(state, prefix, metadata, *rest)

    def __init__(self):
        super().__init__()
        self.input_shape = (3, 8, 8)
        self.stem = nn.Conv2d(3, 8, 3, padding=1, bias=False)
        self.conv = nn.Conv2d(8, 16, 3, 2, padding=1, bias=False)
        self.shortcut = Shortcut()
        self.inner = nn.Conv2d(16, 8, 1)
        self.act = nn.Sigmoid()
        self.outer = nn.Conv2d(8, 16, 1, bias=False)
        self.head = nn.Linear(16, 4)

    def forward(self, x):
        x = F.relu(self.stem(x))
        x = F.relu(self.conv(x) + self.shortcut(x))
        return self.head((x + self.outer(self.act(self.inner(x)))).mean((2, 3)))


def build():
    return Net()
'''


ATTENTION = """
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.input_shape = (3, 4, 4)
        self.embed = nn.Linear(3, 8)
        self.attention = nn.MultiheadAttention(8, 2)
        self.layer = nn.TransformerEncoderLayer(8, 2, 12, batch_first=True)
        self.last = nn.MultiheadAttention(8, 4, batch_first=True, bias=False)
        self.head = nn.Linear(8, 4)

    def forward(self, x):
        x = self.embed(x.flatten(2).permute(2, 0, 1))
        hidden = torch.ones(len(x), len(x), dtype=torch.bool).triu(1)
        x = x + self.attention(x, x, x, attn_mask=hidden)[0]
        x = self.layer(x.transpose(0, 1))
        late = torch.arange(x.shape[1]).expand(x.shape[:2]) > 12
        found, weights = self.last(x[:, :1], x, x, key_padding_mask=late, average_attn_weights=False)
        return torch.cat([self.head(found).flatten(1), weights.flatten(1)], 1)


def build():
    return Net()
"""


LAZY = """
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.input_shape = (3, 8, 8)
        self.stem = nn.Conv2d(3, 8, 1)
        self.register_buffer("places", torch.zeros(1, 1), persistent=False)
        self.inner, self.outer = nn.Conv2d(8, 8, 3, 2, 1), nn.Conv2d(8, 8, 1)
        self.shortcut = nn.Conv2d(8, 8, 1, 2)
        self.head = nn.Linear(8, 4)

    def forward(self, x):
        if self.places.shape != x.shape[2:]:
            self.places = torch.arange(x[0, 0].numel(), dtype=x.dtype).view(x.shape[2:])
        x = torch.relu(self.stem(x) + self.places)
        out = self.outer(torch.relu(self.inner(x)))
        out += self.shortcut(x)
        return self.head(out.mean((2, 3)))


def build():
    return Net()
"""


def half_zero(network, dead=()):
    """The network, shrunk by half of the channels of every group, and by all of those named."""
    example = network.example_input()
    for seed, group in enumerate(find_groups(network.model, example)):
        if group.prunable:
            channels = torch.randperm(group.channels, generator=torch.Generator().manual_seed(seed))
            zero(network.model, group, channels[: group.channels if group.name in dead else group.channels // 2])
    return network.with_model(remove_zero_channels(network.model, example, align=1).model)


def lenet_(folder):
    (folder / "lenet.py").write_bytes(Path(lenet.__file__).read_bytes())
    return half_zero(load("digits_lenet"))


def resnet(folder):
    (folder / "resnet.py").write_bytes(Path(cifar_resnet.__file__).read_bytes())
    return half_zero(load("digits_resnet"), ["layer2.1.conv1"])


def foreign(folder):
    (folder / "foreign.py").write_text(FOREIGN)
    return half_zero(fresh(f"{folder / 'foreign.py'}:build"))


def lazy(folder):
    """A buffer that is computed when its size does not fit, and a branch that the code writes into."""
    (folder / "lazy.py").write_text(LAZY)
    return half_zero(fresh(f"{folder / 'lazy.py'}:build"), ["inner"])


def attention(folder):
    (folder / "attention.py").write_text(ATTENTION)
    return half_zero(fresh(f"{folder / 'attention.py'}:build"))


# What makes the small network, the module that holds its architecture, and the edits that it must need.
CASES = {
    "lenet": (lenet_, {"resize"}),
    "resnet": (resnet, {"resize", "constant", "identity"}),
    "foreign": (foreign, {"resize", "padded shortcut"}),
    "lazy": (lazy, {"resize", "constant", "identity"}),
    "attention": (attention, {"resize", "attention", "layer norm"}),
}


@pytest.mark.parametrize("case", CASES)
def test_the_loader_gives_the_same_outputs_without_this_package(case, tmp_path):
    make, edits = CASES[case]
    small = make(tmp_path)
    inputs = small.example_input(batch=3)
    save(small, tmp_path / "small.pt")
    header = torch.load(tmp_path / "small.pt", weights_only=True)["header"]
    assert {edit["edit"] for edit in header["edits"]} == edits
    torch.save(inputs, tmp_path / "inputs.pt")
    (tmp_path / "use.py").write_text(LOADER + USE)
    subprocess.run(
        [sys.executable, "use.py", "small.pt", case, "inputs.pt", "found.pt"], check=True, cwd=tmp_path, timeout=120
    )
    found = torch.load(tmp_path / "found.pt", weights_only=True)
    (expected,) = outputs(small.model, inputs)
    # The page writes attention as it is defined, the package as it is fastest.
    assert relative_difference(expected, found) <= (1e-6 if case == "attention" else 0.0)


def reloaded(path, dense):
    space = {}
    exec(compile(LOADER, str(PAGE), "exec"), space)
    return space["reload"](path, dense)


def changed(path, change):
    content = torch.load(path, weights_only=True)
    change(content)
    torch.save(content, path)


@pytest.fixture
def small(tmp_path):
    save(half_zero(fresh("lenet5")), tmp_path / "small.pt")
    return tmp_path / "small.pt"


def other_architecture(content):
    content["state"]["fc2.weight"] = torch.zeros(3, 3)


def newer(content):
    content["header"]["version"] = 2


def method(content):
    content["header"]["edits"][0]["sizes"]["forward"] = 3


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (other_architecture, RuntimeError, "size mismatch for fc2.weight"),
        (newer, ValueError, "is of another format"),
        (method, ValueError, "forward of conv1 is no size"),
    ],
)
def test_the_loader_refuses_what_does_not_fit(change, error, message, small):
    changed(small, change)
    with pytest.raises(error, match=message):
        reloaded(small, lenet.lenet5())


def test_the_loader_is_short():
    body = LOADER[LOADER.index("def reload") :]
    assert len(body.splitlines()) <= 33


def test_the_loader_makes_trainable_parameters(small):
    model = reloaded(small, lenet.lenet5())
    assert all(isinstance(p, nn.Parameter) and p.requires_grad for p in model.parameters())
