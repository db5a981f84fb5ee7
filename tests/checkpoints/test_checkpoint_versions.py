from __future__ import annotations

import pytest
import torch

from compressor import load, save

# As torchvision's MNASNet does.
VERSIONED = """
from torch import nn

class Versioned(nn.Module):
    _version = 2
    input_shape = (8,)

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(8, 4)

    def _load_from_state_dict(self, state, prefix, metadata, *rest):
        if metadata.get("version") != 2:
            raise ValueError(f"version {metadata.get('version')}")
        super()._load_from_state_dict(state, prefix, metadata, *rest)

    def forward(self, x):
        return self.fc(x)
"""


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_a_module_finds_the_version_that_it_asks_for(tmp_path, suffix):
    (tmp_path / "net.py").write_text(VERSIONED)
    arch = f"{tmp_path / 'net.py'}:Versioned"
    namespace = {}
    exec(VERSIONED, namespace)
    model = namespace["Versioned"]()
    save(model, tmp_path / f"m{suffix}", arch=arch)
    assert torch.equal(load(tmp_path / f"m{suffix}", arch=arch).model.fc.weight, model.fc.weight)
