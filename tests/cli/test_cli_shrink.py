import json
from pathlib import Path

import pytest
import torch

from compressor.checkpoints import load


@pytest.fixture
def shrunk(tiny, compress):
    return compress("shrink", tiny.sparse, "--trust-arch", "--json")


def test_its_file_reloads_and_is_smaller(tiny, shrunk):
    small, sparse = load("tiny-shrunk.pt", trust_arch=True), load(tiny.sparse, trust_arch=True)
    document = json.loads(shrunk.stdout)
    assert sum(p.numel() for p in small.model.parameters()) == document["parameters"][1]
    torch.testing.assert_close(small.model(small.example_input()), sparse.model(sparse.example_input()))


def test_its_proof_is_in_the_document(shrunk):
    removal = json.loads(shrunk.stdout)["removal"]
    assert removal["float64"] <= removal["float64_limit"] == 1e-9
    assert "real samples" in removal["inputs"]


def test_people_read_the_difference(tiny, compress):
    done = compress("shrink", tiny.sparse, "--trust-arch", "--out", "small.pt")
    assert "Largest output difference" in done.stdout
    assert "Wrote small.pt" in done.stdout


def test_a_dense_network_has_nothing_to_remove(tiny, compress):
    done = compress("shrink", tiny.checkpoint, "--trust-arch")
    assert done.exit_code == 1
    assert "has no zero channel that can be removed, so nothing was written" in done.error[0]
    assert not list(Path().iterdir())
