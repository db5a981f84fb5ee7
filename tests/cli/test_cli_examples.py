"""Networks that take words, or more than one tensor: from --input and --example to the exported file."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from compressor.benchmarking.onnx_file import read_graph
from compressor.checkpoints import load
from compressor.checkpoints.examples import pack, read_example, unpack
from compressor.cli.parsing import InputSpec, parse_input
from compressor.errors import CheckpointError, CompressorError, UsageError
from compressor.groups import find_groups, zero
from compressor.inputs import Examples

TEXT = """
import torch
from torch import nn


class Text(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed, self.fc, self.head = nn.Embedding(100, 8), nn.Linear(8, 16), nn.Linear(16, 4)

    def forward(self, ids, mask=None):
        x = self.embed(ids)
        if mask is not None:
            x = x * mask[..., None].float()
        features = torch.relu(self.fc(x.mean(1)))
        return {"logits": self.head(features), "features": features}


def build():
    return Text()
"""
BY_NAME = ("--input", "ids=2x6:int64:0-99", "--input", "mask=2x6:int64", "--outputs", "logits")


@pytest.fixture(autouse=True)
def _files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("text.py").write_text(TEXT)
    generator = np.random.default_rng(0)
    for name, length in (("short", 4), ("long", 7)):
        np.savez(f"{name}.npz", ids=generator.integers(0, 100, (2, length)), mask=np.ones((2, length), np.int64))


def inspected(compress, *options):
    done = compress("inspect", "--json", *options)
    assert done.exit_code == 0, done.stderr
    return json.loads(done.stdout)


def test_inputs_are_described_and_followed(compress):
    found = inspected(compress, "--arch", "text.py:build", *BY_NAME)
    assert found["inputs"] == ["ids 2x6:int64, mask 2x6:int64"]
    assert found["outputs"] == ["logits"]
    assert [group["name"] for group in found["groups"] if group["excluded"] is None] == ["embed", "fc"]


def test_without_a_choice_features_are_outputs(compress):
    found = inspected(compress, "--arch", "text.py:build", *BY_NAME[:4])
    assert [group["name"] for group in found["groups"] if group["excluded"] is None] == ["embed"]


@pytest.fixture
def sparse():
    """A file of weights with zeros in half of the channels."""
    namespace = {}
    exec(TEXT, namespace)
    torch.manual_seed(0)
    model = namespace["build"]().eval()
    for group in find_groups(model, Examples({"ids": torch.arange(8).reshape(2, 4)}, outputs="logits")):
        if group.prunable:
            zero(model, group, torch.arange(group.channels // 2))
    torch.save(model.state_dict(), "sparse.pt")
    return "sparse.pt"


@pytest.mark.parametrize("ending", ["pt", "safetensors"])
def test_a_checkpoint_keeps_what_it_was_told(compress, sparse, ending):
    small = f"small.{ending}"
    known = ("--example", "short.npz", "--example", "long.npz", "--outputs", "logits")
    done = compress("shrink", sparse, "--arch", "text.py:build", *known, "--align", "1", "--out", small)
    assert done.exit_code == 0, done.stderr
    network = load(small, trust_arch=True)
    assert network.metadata.outputs == ("logits",)
    for example, name in zip(network.metadata.examples, ("short", "long"), strict=True):
        arrays = np.load(f"{name}.npz")
        assert {key: tensor.tolist() for key, tensor in example.items()} == {k: arrays[k].tolist() for k in arrays}
    assert inspected(compress, small, "--trust-arch")["inputs"] == [
        "ids 2x4:int64, mask 2x4:int64",
        "ids 2x7:int64, mask 2x7:int64",
    ]
    done = compress("export", small, "--trust-arch", "--out", "small.onnx")
    assert done.exit_code == 0, done.stderr
    session = onnxruntime.InferenceSession("small.onnx")
    shapes = {entry.name: entry.shape for entry in (*session.get_inputs(), *session.get_outputs())}
    assert shapes == {"ids": ["batch", "length"], "mask": ["batch", "length"], "logits": ["batch", 4]}
    graph = read_graph(Path("small.onnx"))
    assert [(entry.name, entry.shape) for entry in graph.inputs] == [("ids", (None, 4)), ("mask", (None, 4))]
    assert graph.macs == inspected(compress, small, "--trust-arch")["macs"] == 4 * 8 + 8 * 4


@pytest.mark.parametrize("said", ["3", "[]", '{"length": 0}', '{"length": 1e400}', "{", '{"length": 4294967296}'])
def test_lengths_that_are_none_are_refused(compress, sparse, said):
    done = compress("export", sparse, "--arch", "text.py:build", *BY_NAME, "--out", "text.onnx")
    assert done.exit_code == 0, done.stderr
    model = onnx.load("text.onnx")
    onnx.helper.set_model_props(model, {"compressor.lengths": said})
    onnx.save(model, "text.onnx")
    with pytest.raises(CompressorError, match=r"compressor.lengths of text.onnx"):
        read_graph(Path("text.onnx"))


def test_a_network_of_words_is_not_trained_on_images(compress, sparse):
    done = compress("fine-tune", sparse, "--arch", "text.py:build", *BY_NAME, "--data", "digits", "--out", "x.pt")
    assert (done.exit_code, len(done.error)) == (1, 1)
    assert "images need an input of channels x height x width" in done.error[0]


def test_what_torch_saved_is_an_example():
    content = {"ids": torch.ones(2, 3, dtype=torch.long), "scale": [0.5, None, True], "pair": (torch.zeros(2), "x")}
    torch.save(content, "example.pt")
    example = read_example(Path("example.pt"))
    assert torch.equal(example["ids"], content["ids"])
    assert example["scale"] == [0.5, None, True]
    assert example["pair"][1] == "x"


def test_arrays_without_names_are_positional():
    np.savez("one.npz", np.ones((2, 3), np.float32))
    np.savez("two.npz", np.ones((2, 3), np.float32), np.zeros(2, np.int64))
    assert read_example(Path("one.npz")).shape == (2, 3)
    assert [tensor.dtype for tensor in read_example(Path("two.npz"))] == [torch.float32, torch.int64]


class Evil:
    def __reduce__(self):
        return Path.touch, (Path("ran"),)


def write(name, content):
    Path(name).write_bytes(content)
    return Path(name)


def archive(**arrays):
    np.savez("bad.npz", **arrays)
    return Path("bad.npz")


def saved(content):
    torch.save(content, "bad.pt")
    return Path("bad.pt")


@pytest.mark.parametrize("make", [
    lambda: write("bad.pt", pickle.dumps({"ids": Evil()})),
    lambda: saved({"ids": Evil()}),
    lambda: saved({"ids": torch.ones(2), "options": Evil()}),
    lambda: saved({"name": "no tensor"}),
    lambda: saved({"ids": torch.ones(1).expand(1 << 40)}),
    lambda: saved({"ids": torch.ones(2).to_sparse()}),
    lambda: saved({1: torch.ones(2)}),
    lambda: write("bad.pt", b""),
    lambda: write("bad.npz", b"PK"),
    lambda: archive(ids=np.array([Evil()], dtype=object)),
    lambda: archive(ids=np.array(["word"])),
    lambda: archive(),
    lambda: Path("missing.npz"),
    lambda: write("example.txt", b"1 2 3"),
])  # fmt: skip
def test_a_bad_example_is_one_clean_error_and_runs_nothing(compress, make):
    with pytest.raises(CompressorError):
        read_example(make())
    done = compress("inspect", "--arch", "text.py:build", "--example", str(make()))
    assert (done.exit_code in {1, 2}, len(done.error)) == (True, 1), done.stderr
    assert not Path("ran").exists()


@pytest.mark.parametrize(
    ("text", "spec"),
    [
        ("2x128:int64", InputSpec(None, (2, 128), "int64")),
        ("ids=1x128:int64:3-999", InputSpec("ids", (1, 128), "int64", 3, 999)),
        ("x=2x3x8x8", InputSpec("x", (2, 3, 8, 8), "float32")),
    ],
)
def test_an_input_is_read(text, spec):
    assert parse_input(text) == spec


@pytest.mark.parametrize("text", [
    "", "ids=", "=2x3", "ids=2x3:int65", "ids=2x0:int64", "ids=2x3:int64:9-3", "ids=2x3:float32:0-1",
    "ids=2x3:int64:-1-3", "1ds=2x3", "ids=2x3:", "ids=2x3:int64:0-" + "9" * 30,
])  # fmt: skip
def test_what_is_no_input_is_refused(text):
    with pytest.raises(UsageError):
        parse_input(text)


@pytest.mark.parametrize(("options", "words"), [
    (("--input", "ids=2x3:int64", "--example", "short.npz"), "give one of them"),
    (("--input", "ids=2x3:int64", "--input", "2x3"), "name every input or none"),
    (("--input", "ids=2x3:int64", "--input", "ids=2x4:int64"), "--input ids is given twice"),
    (("--input", "ids=2x3:uint8:0-256"), "goes up to 256, and uint8 to 255"),
    (("--input", "ids=100000x100000:int64"), "--max-memory allows more"),
    (("--input", "ids=2x3:int64", "--input-shape", "3x8x8"), "both say what the network is given"),
    (("--input", "word=2x3:int64"), "the network does not accept its example (--example, --input)"),
    (("--input", "ids=2x3:int64", "--outputs", "scores"), "--outputs scores: the network returns a dict"),
])  # fmt: skip
def test_options_that_cannot_be_right_are_one_line(compress, options, words):
    done = compress("inspect", "--arch", "text.py:build", *options)
    assert (done.exit_code, len(done.error)) == (2, 1)
    assert words in done.error[0]


def test_what_is_packed_is_unpacked():
    held = {}
    value = [{"a": (torch.ones(2), None, 3)}, 0.5, "text", True]
    plain = json.loads(json.dumps(pack(value, held)))
    again = unpack(plain, held)
    assert torch.equal(again[0]["a"][0], torch.ones(2))
    assert (again[0]["a"][1:], again[1:]) == ((None, 3), [0.5, "text", True])


@pytest.mark.parametrize("plain", [
    None, [], {}, {"tensor": "missing"}, {"tensor": 3}, {"value": []}, {"list": {}}, {"dict": []}, {"code": "x"},
    {"value": 1, "list": []},
])  # fmt: skip
def test_damaged_examples_are_refused(plain):
    with pytest.raises(ValueError, match=r"example|may not be|missing"):
        unpack(plain, {})


def test_an_example_that_is_no_data_is_refused():
    with pytest.raises(CheckpointError, match="keeps examples of tensors in lists, tuples and dicts, got a Evil"):
        pack([Evil()], {})


def test_what_a_network_of_the_api_takes_is_kept_too():
    from compressor import Examples as public
    from compressor import save

    namespace = {}
    exec(TEXT, namespace)
    examples = public({"ids": torch.ones(2, 3, dtype=torch.long)}, outputs="logits")
    save(namespace["build"](), "kept.pt", arch="text.py:build", example=examples)
    network = load("kept.pt", trust_arch=True)
    assert network.metadata.outputs == ("logits",)
    assert torch.equal(network.example_input().calls[0]["ids"], examples.calls[0]["ids"])
    with pytest.raises(UsageError, match="by place or key, not as a function"):
        save(namespace["build"](), "function.pt", arch="text.py:build", example=public(torch.ones(2), outputs=len))
    with pytest.raises(UsageError, match="needs at least one tensor"):
        save(namespace["build"](), "empty.pt", arch="text.py:build", example=(3, None))


@pytest.mark.parametrize("change", [
    lambda header: header.update(examples={"list": [{"value": 3}]}),
    lambda header: header.update(examples={"value": 3}),
    lambda header: header.update(examples={"list": [{"tensor": "0.weight"}]}),
    lambda header: header.update(examples=None),
    lambda header: header.update(outputs=3),
    lambda header: header.update(outputs=[3]),
])  # fmt: skip
def test_a_header_with_damaged_examples_is_one_line(compress, sparse, change):
    compress("shrink", sparse, "--arch", "text.py:build", *BY_NAME, "--out", "small.pt")
    content = torch.load("small.pt", weights_only=True)
    change(content["header"])
    torch.save(content, "small.pt")
    done = compress("inspect", "small.pt", "--trust-arch")
    assert (done.exit_code, len(done.error)) == (1, 1)
    assert "its header is damaged" in done.error[0]
