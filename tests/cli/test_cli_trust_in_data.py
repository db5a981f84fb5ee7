"""Data that only a file names are read inside its own folder, elsewhere with the user's word."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from compressor.checkpoints import load, save


@pytest.fixture
def outside(tiny):
    """A checkpoint in the current folder whose data lie elsewhere."""
    shutil.copy(tiny.checkpoint, "far.pt")
    return f"Error: far.pt names data outside its folder, {tiny.data}; pass --data {tiny.data} to read them"


@pytest.mark.parametrize("command", ["evaluate", "fine-tune", "recover", "run"])
def test_data_elsewhere_need_the_users_word(outside, tiny, compress, command):
    done = compress(command, "far.pt", "--trust-arch")
    assert (done.exit_code, done.error) == (2, [outside])
    assert sorted(path.name for path in Path().iterdir()) == ["far.pt"]


def test_the_option_that_the_line_names_gives_it(outside, tiny, compress):
    assert compress("evaluate", "far.pt", "--trust-arch", "--data", tiny.data).exit_code == 0


def test_where_data_are_only_compared_the_work_goes_on_without(tiny, compress):
    shutil.copy(tiny.sparse, "far.pt")
    done = compress("shrink", "far.pt", "--trust-arch")
    assert done.exit_code == 0
    reason = f"{tiny.data} lies outside the folder of far.pt; pass --data {tiny.data} to read it"
    assert f"Warning: outputs are compared on random inputs only, because {reason}" in done.stderr
    assert "real samples" not in done.stdout


def test_an_onnx_file_has_no_more_trust(tiny, finished, compress):
    shutil.copy(finished[0] / "small.onnx", "far.onnx")
    done = compress("evaluate", "far.onnx")
    assert (done.exit_code, len(done.error)) == (2, 1)
    assert f"far.onnx names data outside its folder, {tiny.data}; pass --data" in done.error[0]


@pytest.mark.parametrize(
    "ref",
    [
        *("folder:/etc", "npz:/dev/zero", "npz:../up.npz", "npz:link/a.npz", "npz:\0", "mnist:/", "folder:~", "hf:~/x"),
        *("webdataset:/etc", "webdataset:../{0..1}.tar", "webdataset:{0..1}/../../x.tar", "webdataset:link/{0..1}.tar"),
    ],
)
def test_places_that_a_file_may_not_choose(tiny, compress, ref):
    network = load(tiny.checkpoint, trust_arch=True)
    Path("link").symlink_to(Path("/"))
    data = replace(network.metadata.data, ref=ref)
    save(replace(network, metadata=replace(network.metadata, data=data)), "far.pt")
    done = compress("evaluate", "far.pt", "--trust-arch")
    assert (done.exit_code, len(done.error)) == (2, 1)
    assert "names data outside its folder" in done.error[0]


def test_data_beside_the_file_are_read_from_the_current_folder(tiny, compress):
    network = load(tiny.checkpoint, trust_arch=True)
    shutil.copy(tiny.data.partition(":")[2], "own.npz")
    data = replace(network.metadata.data, ref="npz:own.npz")
    save(replace(network, metadata=replace(network.metadata, data=data)), "near.pt")
    assert compress("evaluate", "near.pt", "--trust-arch").exit_code == 0
