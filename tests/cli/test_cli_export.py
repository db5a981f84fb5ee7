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
    assert "Warning: the normalisation is not known, so the file does not hold it; pass --normalize" in done.stderr
    assert json.loads(done.stdout)["parity"]["norm_rel"] <= 1e-5
    assert Path("a/b.onnx").exists()


def test_a_torch_export_program_is_written_and_the_proof_is_printed(tiny, compress):
    done = compress("export", tiny.sparse, "--trust-arch", "--format", "pt2")
    assert Path("tiny-sparse.pt2").exists()
    assert "Largest difference from PyTorch" in done.stdout
    assert "torch.export of torch" in done.stdout


def test_the_document_of_a_program_says_its_format(tiny, compress):
    done = compress("export", tiny.sparse, "--trust-arch", "--format", "pt2", "--json", "--out", "a.pt2")
    assert json.loads(done.stdout)["format"] == "pt2"


def test_a_program_has_no_opset(tiny, compress):
    done = compress("export", tiny.sparse, "--trust-arch", "--format", "pt2", "--opset", 18)
    assert done.exit_code == 2
    assert "--opset is for --format onnx; a torch.export program has none" in done.error[0]


def test_the_ending_must_be_that_of_the_format(tiny, compress):
    done = compress("export", tiny.sparse, "--trust-arch", "--format", "pt2", "--out", "a.onnx")
    assert done.exit_code == 2
    assert "must end in .pt2" in done.error[0]


def test_a_program_is_never_read(tiny, compress):
    compress("export", tiny.sparse, "--trust-arch", "--format", "pt2", "--out", "a.pt2")
    done = compress("inspect", "a.pt2", "--arch", tiny.arch)
    assert done.exit_code == 1
    assert "a.pt2" in done.error[0]


def moved(tiny, to):
    """The checkpoint as it is after its data have gone elsewhere."""
    from dataclasses import replace

    network = load(tiny.sparse, trust_arch=True)
    data = replace(network.metadata.data, ref="npz:gone.npz")
    save(replace(network, metadata=replace(network.metadata, data=data)), to)


def test_real_samples_are_compared_when_the_data_are_known(tiny, compress):
    done = compress("export", tiny.sparse, "--trust-arch", "--json")
    assert json.loads(done.stdout)["parity"]["inputs"].endswith(", 16 real samples")


@pytest.mark.parametrize("command", ["export", "shrink"])
def test_data_that_are_elsewhere_are_left_out_with_a_warning(tiny, compress, command):
    moved(tiny, "moved.pt")
    done = compress(command, "moved.pt", "--trust-arch")
    assert done.exit_code == 0
    assert "random inputs only, because npz:gone.npz is not on this machine; pass --data" in done.stderr
    assert "real samples" not in done.stdout


@pytest.mark.parametrize("command", ["export", "shrink"])
def test_data_that_are_asked_for_must_be_there(tiny, compress, command):
    done = compress(command, tiny.sparse, "--trust-arch", "--data", "npz:gone.npz")
    assert (done.exit_code, "gone.npz" in done.error[0]) == (1, True)
