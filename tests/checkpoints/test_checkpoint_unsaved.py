"""Buffers that a state dict leaves out, and that code computes anew only when their size does not fit."""

from __future__ import annotations

import pytest
import torch

from compressor import load, save
from compressor.checkpoints import fresh
from compressor.equivalence import outputs
from compressor.errors import CheckpointError

NETWORK = """
import torch
from torch import nn


class Net(nn.Module):
    input_shape = (3, 8, 8)

    def __init__(self):
        super().__init__()
        self.conv, self.head = nn.Conv2d(3, 6, 1), nn.Linear(6, 4)
        self.register_buffer("places", torch.zeros(1, 1), persistent=False)

    def forward(self, x):
        if self.places.shape != x.shape[2:]:
            self.places = torch.arange(x[0, 0].numel(), dtype=x.dtype).view(x.shape[2:])
        return self.head((self.conv(x) * self.places).relu().mean((2, 3)))
"""


@pytest.fixture
def network(tmp_path):
    (tmp_path / "lazy.py").write_text(NETWORK)
    network = fresh(f"{tmp_path / 'lazy.py'}:Net")
    outputs(network.model, network.example_input())
    return network


@pytest.mark.parametrize("suffix", ["pt", "safetensors"])
def test_one_of_another_size_than_at_first_is_kept(network, tmp_path, suffix):
    save(network, tmp_path / f"n.{suffix}")
    again = load(tmp_path / f"n.{suffix}", trust_arch=True).model
    assert torch.equal(again.places, network.model.places)
    (expected,), (found,) = (outputs(model, network.example_input()) for model in (network.model, again))
    assert torch.equal(expected, found)


def test_a_file_without_it_is_refused(network, tmp_path):
    save(network, tmp_path / "n.pt")
    content = torch.load(tmp_path / "n.pt", weights_only=True)
    del content["state"]["places"]
    torch.save(content, tmp_path / "n.pt")
    with pytest.raises(CheckpointError, match="lacks places of 8x8, which its architecture makes in another size"):
        load(tmp_path / "n.pt", trust_arch=True)
