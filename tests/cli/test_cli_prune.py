import json
from pathlib import Path

import pytest

from compressor.checkpoints import load


@pytest.fixture
def pruned(tiny, compress):
    return compress("prune", tiny.checkpoint, "--trust-arch", "--target-macs", "0.5", "--samples", "64", "--json")


def test_its_file_is_an_ordinary_checkpoint(tiny, compress, pruned):
    assert pruned.exit_code == 0, pruned.stderr
    document = json.loads(pruned.stdout)
    small = load("tiny-pruned.pt", trust_arch=True)
    assert sum(p.numel() for p in small.model.parameters()) == document["parameters"][1]
    told = json.loads(compress("evaluate", "tiny-pruned.pt", "--trust-arch", "--data", tiny.data, "--json").stdout)
    assert told["metric"]["value"] == document["fitted"]["metric"]["value"]


def test_people_read_what_changed(tiny, compress):
    done = compress("prune", tiny.checkpoint, "--trust-arch", "--target-params", "0.6", "--out", "small.pt")
    for text in ("MACs", "layers fitted", "same class", "Wrote small.pt"):
        assert text in done.stdout


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ((), "prune needs a target: --target-macs, --target-params, --target-latency or --target-size"),
        (("--target-macs", "2"), "(0, 1]"),
        (("--target-macs", "0.5", "--samples", "0"), "--samples must be at least 2, got 0"),
        (("--target-macs", "0.5", "--costs", "costs.json"), "--costs needs a --target-latency"),
        (("--target-macs", "0.5", "--out", "small.onnx"), "must end in"),
    ],
)
def test_wrong_usage_is_one_line(tiny, compress, options, told):
    done = compress("prune", tiny.checkpoint, "--trust-arch", *options)
    assert done.exit_code == 2
    assert len(done.error) == 1
    assert told in done.error[0]
    assert not list(Path().iterdir())
