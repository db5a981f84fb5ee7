import json
from pathlib import Path

import onnx
import pytest

from compressor.checkpoints import load, save


def test_the_file_is_valid_and_the_proof_is_printed(tiny, compress):
    done = compress("export", tiny.sparse, "--trust-arch", "--opset", 17)
    onnx.checker.check_model(onnx.load("tiny-sparse.onnx"), full_check=True)
    assert "Largest difference from PyTorch" in done.stdout
    assert "opset 17" in done.stdout


@pytest.fixture
def unnormalised(tiny):
    from dataclasses import replace

    network = load(tiny.checkpoint, trust_arch=True)
    save(replace(network, metadata=replace(network.metadata, normalization=None)), "plain.pt")


def test_an_unknown_normalisation_is_warned_about_and_no_part_of_the_document(unnormalised, compress):
    done = compress("export", "plain.pt", "--trust-arch", "--json", "--out", "a/b.onnx")
    assert "Warning: the normalisation is not known, so it is not in the file; pass --normalize" in done.stderr
    assert json.loads(done.stdout)["parity"]["norm_rel"] <= 1e-5
    assert Path("a/b.onnx").exists()
