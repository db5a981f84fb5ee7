from __future__ import annotations

import onnx
import pytest
import torch
from onnx import TensorProto, helper

from compressor.checkpoints import DataChoice
from compressor.data.normalization import Normalization
from compressor.data.samples import Augmentation, DataSet, Samples
from compressor.errors import CheckpointError, CompressorError, DataError
from compressor.stages.evaluate import evaluate_onnx, onnx_facts

# Two channels of one pixel; the network below says class 1 where the second is brighter.
SAMPLES = Samples(
    torch.tensor([[10, 200], [200, 10], [0, 255], [90, 80]], dtype=torch.uint8).view(4, 2, 1, 1),
    torch.tensor([1, 0, 1, 1]),
)


def onnx_accuracy(path, samples, normalization):
    """On ``samples`` as the test part of a data set."""
    data = DataSet(ref="x", train=samples, val=samples, test=samples, classes=("a", "b"), normalization=None,
                   augmentation=Augmentation(), split_seed=0, val_fraction=0.1)  # fmt: skip
    return evaluate_onnx(path, data, normalization).metric


@pytest.fixture
def write(tmp_path):
    """Write an ONNX file that flattens its images, with given metadata."""

    def build(shape=("batch", 2, 1, 1), **metadata):
        node = helper.make_node("Flatten", ["input"], ["output"])
        graph = helper.make_graph(
            [node],
            "flatten",
            [helper.make_tensor_value_info("input", TensorProto.FLOAT, list(shape))],
            [helper.make_tensor_value_info("output", TensorProto.FLOAT, [shape[0], 2])],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
        helper.set_model_props(model, metadata)
        path = tmp_path / "model.onnx"
        onnx.save(model, path)
        return path

    return build


def test_accuracy_is_the_share_of_right_classes(write):
    found = onnx_accuracy(write(), SAMPLES, None)
    assert (found.value, found.n) == (0.75, 4)


def test_normalization_reaches_the_network(write):
    darker_second = Normalization((0.0, 1.0), (1.0, 1.0))
    assert onnx_accuracy(write(), SAMPLES, darker_second).value == 0.25


def test_facts_come_from_the_metadata(write):
    facts = onnx_facts(
        write(
            **{
                "compressor.input_shape": "[2, 1, 1]",
                "compressor.normalization": '{"mean": [0.5], "std": [0.25]}',
                "compressor.classes": '["dark", "bright"]',
                "compressor.data": '{"ref": "digits", "split_seed": 3, "val_fraction": 0.2}',
            }
        )
    )
    assert facts.input_shape == (2, 1, 1)
    assert facts.normalization == Normalization((0.5,), (0.25,))
    assert facts.classes == ("dark", "bright")
    assert facts.data == DataChoice(ref="digits", split_seed=3, val_fraction=0.2)


def test_without_metadata_the_graph_gives_the_shape(write):
    facts = onnx_facts(write())
    assert (facts.input_shape, facts.normalization, facts.classes, facts.data) == ((2, 1, 1), None, None, None)


def test_a_shape_that_is_not_fixed_is_unknown(write):
    assert onnx_facts(write(("batch", 2, "height", 1))).input_shape is None


def test_metadata_of_other_tools_is_no_business_of_ours(write):
    assert onnx_facts(write(classes="{0: 'cat'}", data="http://example.org")).classes is None


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("classes", "not json"),
        ("classes", "5"),
        ("input_shape", "7"),
        ("normalization", '{"mean": [0]}'),
        ("normalization", '"imagenet"'),
        ("data", '"digits"'),
        ("input_shape", "[0, 1, 1]"),
        ("input_shape", "[-1, 1, 1]"),
        ("input_shape", "[true, 1, 1]"),
        ("input_shape", "[1e400, 1, 1]"),
        ("input_shape", "[" + "9" * 5000 + "]"),
        ("input_shape", "[" * 5000),
        ("classes", '"abc"'),
        ("classes", "[1, 2]"),
        ("normalization", '{"mean": [NaN], "std": [1]}'),
        ("normalization", '{"mean": [0], "std": [0]}'),
        ("normalization", '{"mean": [1' + "0" * 400 + '], "std": [1]}'),
        ("data", '{"ref": "digits", "split_seed": [1], "val_fraction": 0.1}'),
    ],
)
def test_damaged_metadata_is_refused_with_the_file(write, key, value):
    with pytest.raises(CheckpointError, match=r"model\.onnx has damaged metadata"):
        onnx_facts(write(**{f"compressor.{key}": value}))


def test_a_network_that_does_not_run_is_told_before_any_data_are_read(write):
    path = write(("batch", 3, 1, 1), **{"compressor.input_shape": "[2, 1, 1]"})
    with pytest.raises(CompressorError, match=r"model\.onnx does not accept an image of \(2, 1, 1\)"):
        onnx_facts(path)


@pytest.mark.parametrize("missing", ["input", "output"])
def test_a_network_without_input_or_output_is_refused(write, missing):
    path = write()
    model = onnx.load(path)
    model.graph.ClearField(missing)
    onnx.save(model, path)
    with pytest.raises(CheckpointError, match=r"model\.onnx has no input or no output"):
        onnx_facts(path)


def test_images_of_another_shape_are_refused(write):
    wrong = Samples(torch.zeros(2, 5, 4, 4, dtype=torch.uint8), torch.zeros(2, dtype=torch.int64))
    with pytest.raises(CheckpointError, match=r"model\.onnx does not accept these images: .+"):
        onnx_accuracy(write(), wrong, None)


def test_a_file_that_is_no_onnx_is_refused(tmp_path):
    path = tmp_path / "text.onnx"
    path.write_text("hello")
    with pytest.raises(CheckpointError, match=r"text\.onnx is not an ONNX model; it cannot be read: "):
        onnx_facts(path)


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match=r"none\.onnx is missing"):
        onnx_facts(tmp_path / "none.onnx")


def test_a_folder_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match=r"is a folder; an \.onnx file is needed"):
        onnx_facts(tmp_path)


def test_no_samples_are_refused(write):
    with pytest.raises(DataError, match="there are no samples to evaluate on"):
        onnx_accuracy(write(), SAMPLES.take(torch.tensor([], dtype=torch.int64)), None)
