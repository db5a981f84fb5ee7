from __future__ import annotations

import sys
from copy import deepcopy
from dataclasses import replace

import pytest
import torch

from compressor.checkpoints import DataChoice, Network, fresh, save
from compressor.data.normalization import Normalization
from compressor.shrinking import shrink

TIED = """
from torch import nn

class Tied(nn.Module):
    input_shape = (8,)

    def __init__(self, width=8):
        super().__init__()
        self.one = nn.Linear(8, 8)
        self.other = nn.Linear(8, 8)
        self.other.weight = self.one.weight

    def forward(self, x):
        return self.other(self.one(x).relu())
"""


@pytest.fixture(scope="session")
def described():
    """LeNet-5 that knows everything that a checkpoint can know, none of it by default."""
    plain = fresh("lenet5", arch_args={"num_classes": 4}, classes=("a", "b", "c", "d"))
    metadata = replace(
        plain.metadata,
        normalization=Normalization((0.1307,), (0.3081,)),
        data=DataChoice(ref="mnist:somewhere", split_seed=3, val_fraction=0.2),
    )
    return replace(plain, metadata=metadata.with_stage("fine-tune", epochs=2, lr=0.1, note="ü", nested={"a": [1, 2]}))


@pytest.fixture
def network(described):
    """A copy that a test may change."""
    return deepcopy(described)


@pytest.fixture(scope="session")
def whole(tmp_path_factory, described):
    path = tmp_path_factory.mktemp("whole") / "m.pt"
    save(described, path)
    return torch.load(path, weights_only=True)


@pytest.fixture
def content(whole):
    """What torch reads from a whole checkpoint, to be damaged."""
    return {**whole, "header": deepcopy(whole["header"]), "state": dict(whole["state"])}


@pytest.fixture(scope="session")
def shrunk():
    """ResNet-20 of one channel from which 5 inner channels of the first block were removed."""
    dense = fresh("resnet20", arch_args={"in_channels": 1})
    block = dense.model.layer1[0]
    with torch.no_grad():
        for tensor in (block.conv1.weight, block.bn1.weight, block.bn1.bias):
            tensor[:5] = 0
    return Network(shrink(dense.model, dense.example_input(), align="1"), dense.metadata)


@pytest.fixture
def tied(tmp_path, monkeypatch):
    """A network of a user's file whose two layers share one weight."""
    (tmp_path / "tied_network.py").write_text(TIED)
    monkeypatch.delitem(sys.modules, "compressor_user_tied_network", raising=False)
    return fresh(f"{tmp_path / 'tied_network.py'}:Tied")
