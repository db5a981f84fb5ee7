import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from compressor.checkpoints import load, save


def test_a_checkpoint_of_ours_needs_no_option_but_trust(tiny, compress):
    done = compress("evaluate", tiny.checkpoint, "--trust-arch")
    assert done.stdout.strip().endswith(f"% (CI 92.59-100.00, n=48) on the test part of {tiny.data}")


def test_an_onnx_file_of_ours_beside_its_data_needs_no_option(finished, tiny, compress):
    beside = shutil.copy(finished[0] / "small.onnx", tiny.checkpoint.parent)
    done = compress("evaluate", beside, "--json")
    document = json.loads(done.stdout)
    assert (document["data"], document["metric"]["n"]) == (tiny.data, 48)
    assert done.stderr == ""


def test_onnx_and_checkpoint_agree(tiny, finished, compress):
    folder, _ = finished
    found = [
        json.loads(
            compress("evaluate", folder / name, *trust, "--data", tiny.data, "--part", "train", "--json").stdout
        )["metric"]
        for name, trust in (("recovered.pt", ["--trust-arch"]), ("small.onnx", []))
    ]
    assert found[0] == found[1]


@pytest.mark.parametrize("name", ["split.pt", "split.onnx"])
def test_the_split_that_was_trained_with_is_the_one_evaluated(tiny, compress, name):
    network = load(tiny.checkpoint, trust_arch=True)
    data = replace(network.metadata.data, split_seed=3)
    save(replace(network, metadata=replace(network.metadata, data=data)), "split.pt")
    trust = ["--trust-arch"] if name.endswith(".pt") else []
    if not trust:
        compress("export", "split.pt", "--trust-arch")
    assert compress("evaluate", name, *trust, "--data", tiny.data).stderr == ""
    told = compress("evaluate", name, *trust, "--data", tiny.data, "--split-seed", 0).stderr
    assert "trained with --split-seed 3" in told


def test_an_onnx_file_without_data_asks_for_them(finished, compress):
    import onnx

    graph = onnx.load(finished[0] / "small.onnx")
    del graph.metadata_props[:]
    onnx.save(graph, "bare.onnx")
    done = compress("evaluate", "bare.onnx")
    assert done.exit_code == 2
    assert done.error == ["Error: the checkpoint does not name its data; pass --data, for example --data folder:photos"]


def test_an_unknown_normalisation_of_an_onnx_file_is_warned_about(finished, tiny, compress):
    import onnx

    graph = onnx.load(finished[0] / "small.onnx")
    del graph.metadata_props[:]
    onnx.save(graph, "bare.onnx")
    done = compress("evaluate", "bare.onnx", "--data", tiny.data)
    assert done.exit_code == 0
    assert "Warning: bare.onnx does not say how inputs are normalised" in done.stderr


@pytest.mark.parametrize(
    ("option", "words"),
    [(("--arch", "resnet20"), "--arch is for checkpoints"), (("--device", "cuda"), "--device cuda is for checkpoints")],
)
def test_options_that_an_onnx_file_has_no_use_for_are_refused(finished, compress, option, words):
    done = compress("evaluate", finished[0] / "small.onnx", *option)
    assert done.exit_code == 2
    assert words in done.error[0]


def test_a_folder_of_images_is_told_apart_from_a_data_set(tiny, compress):
    Path("photos").mkdir()
    done = compress("evaluate", tiny.checkpoint, "--trust-arch", "--data", "photos")
    assert done.exit_code == 2
    assert "write --data folder:photos" in done.error[0]


def test_images_that_may_have_been_trained_on_are_named_as_such(finished, tiny, compress):
    for model, trust in ((tiny.checkpoint, ["--trust-arch"]), (finished[0] / "small.onnx", ["--data", tiny.data])):
        assert "claims nothing about new ones" in compress("evaluate", model, *trust, "--part", "train").stdout
        other = compress("evaluate", model, *trust, "--split-seed", 5, "--json")
        (note,) = json.loads(other.stdout)["notes"]
        assert "was trained on" in note
        assert "split seed 0, not on this training part" in note
        assert json.loads(compress("evaluate", model, *trust, "--json").stdout)["notes"] == []


def test_a_checkpoint_that_does_not_know_its_data_says_so(tiny, compress):
    network = load(tiny.checkpoint, trust_arch=True)
    save(replace(network, metadata=replace(network.metadata, data=None)), "bare.pt")
    done = compress("evaluate", "bare.pt", "--trust-arch", "--data", tiny.data)
    assert "The checkpoint does not say what it was trained on." in done.stdout
