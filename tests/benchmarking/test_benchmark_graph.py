import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from compressor.benchmarking.onnx_file import Input, read_graph
from compressor.errors import CheckpointError, UsageError


def ones(*shape):
    return np.ones(shape, np.float32)


@pytest.mark.parametrize(
    ("node", "image", "weight", "out", "expected"),
    [
        (("Conv", {"pads": [1] * 4}), [3, 8, 8], ones(5, 3, 3, 3), [5, 8, 8], 8 * 8 * 5 * 3 * 9),
        (("Conv", {"strides": [2, 2]}), [3, 9, 9], ones(5, 3, 3, 3), [5, 4, 4], 4 * 4 * 5 * 3 * 9),
        (("Conv", {"group": 4}), [4, 8, 8], ones(8, 1, 3, 3), [8, 6, 6], 6 * 6 * 8 * 9),
        (("ConvTranspose", {"strides": [2, 2]}), [4, 5, 5], ones(4, 6, 2, 2), [6, 10, 10], 25 * 4 * 6 * 4),
        (("MatMul", {}), [7, 3], ones(3, 11), [7, 11], 7 * 3 * 11),
    ],
)
def test_macs_by_hand(write, node, image, weight, out, expected):
    kind, attributes = node
    nodes = [helper.make_node(kind, ["x", "w"], ["y"], **attributes)]
    path = write(nodes, {"x": ["batch", *image]}, {"y": ["batch", *out]}, {"w": weight})
    assert read_graph(path).macs == expected


@pytest.mark.parametrize("transposed", [0, 1])
def test_macs_of_gemm_by_hand(write, transposed):
    nodes = [helper.make_node("Gemm", ["x", "w"], ["y"], transA=transposed)]
    path = write(nodes, {"x": [5, 2] if transposed else [2, 5]}, {"y": [2, 3]}, {"w": ones(5, 3)})
    assert read_graph(path).macs == 2 * 5 * 3


def test_macs_follow_a_dynamic_batch_through_reshapes(write):
    nodes = [
        helper.make_node("Reshape", ["x", "rows"], ["flat"]),
        helper.make_node("MatMul", ["flat", "w"], ["y"]),
    ]
    weights = {"rows": np.array([-1, 12]), "w": ones(12, 5)}
    path = write(nodes, {"x": ["n", 3, 4]}, {"y": ["n", 5]}, weights)
    assert read_graph(path).macs == 12 * 5


def test_macs_are_unknown_when_shapes_are(write):
    nodes = [
        helper.make_node("NonZero", ["x"], ["places"]),
        helper.make_node("Cast", ["places"], ["f"], to=TensorProto.FLOAT),
        helper.make_node("MatMul", ["w", "f"], ["y"]),
    ]
    assert read_graph(write(nodes, {"x": [1, 4]}, {"y": [3, "any"]}, {"w": ones(3, 2)})).macs is None


def test_work_that_is_not_counted_is_named(write):
    nodes = [helper.make_node("Einsum", ["x", "w"], ["y"], equation="ij,jk->ik")]
    path = write(nodes, {"x": ["n", 3]}, {"y": ["n", 4]}, {"w": ones(3, 4)})
    assert read_graph(path).uncounted == ("Einsum",)


def test_parameters_leave_out_shapes_and_scalars(write):
    nodes = [helper.make_node("Reshape", ["x", "s"], ["r"]), helper.make_node("Mul", ["r", "w"], ["m"]),
             helper.make_node("Add", ["m", "c"], ["y"])]  # fmt: skip
    weights = {"s": np.array([1, 4]), "w": np.array([1, 0, 2, 0], np.float32), "c": np.float32(3)}
    found = read_graph(write(nodes, {"x": [1, 4]}, {"y": [1, 4]}, weights))
    assert (found.parameters, found.parameters_nonzero) == (4, 2)


def test_weights_in_constants_are_parameters(write):
    value = helper.make_tensor("v", TensorProto.FLOAT, [3], [1.0, 0.0, 2.0])
    nodes = [helper.make_node("Constant", [], ["w"], value=value), helper.make_node("Add", ["x", "w"], ["y"])]
    found = read_graph(write(nodes, {"x": [1, 3]}, {"y": [1, 3]}, {}))
    assert (found.parameters, found.parameters_nonzero) == (3, 2)


def test_opset_and_metadata_are_read(write):
    path = write([helper.make_node("Relu", ["x"], ["y"])], {"x": [1]}, {"y": [1]}, {}, exporter="by hand")
    found = read_graph(path)
    assert (found.opset, found.metadata) == (18, {"exporter": "by hand"})


@pytest.fixture
def chain(write):
    """Convolutions of the widths given, in a row, with ReLUs between."""

    def build(*widths):
        nodes, weights, tensor, channels = [], {}, "x", 3
        for i, width in enumerate(widths):
            weights[f"w{i}"] = ones(width, channels, 1, 1)
            nodes.append(helper.make_node("Conv", [tensor, f"w{i}"], [f"c{i}"], name=f"conv{i}"))
            nodes.append(helper.make_node("Relu", [f"c{i}"], [f"r{i}"]))
            tensor, channels = f"r{i}", width
        return write(nodes, {"x": ["n", 3, 4, 4]}, {tensor: ["n", channels, 4, 4]}, weights)

    return build


@pytest.mark.parametrize(
    ("widths", "expected"),
    [((32, 64, 8), []), ((31, 64, 6), [("conv0", 31)]), ((31, 62, 8), [("conv0", 31), ("conv1", 62)])],
)
def test_channels_no_multiple_of_four_are_found_where_a_convolution_follows(chain, widths, expected):
    assert [(layer.name, layer.channels) for layer in read_graph(chain(*widths)).unaligned] == expected


def test_inputs_are_read_with_the_batch_left_open(light):
    assert read_graph(light).inputs == (Input("x", "float32", (None, 64, 192)),)


def test_initializers_are_no_inputs(write):
    nodes = [helper.make_node("Add", ["x", "w"], ["y"])]
    path = write(nodes, {"x": [1, 2], "w": [2]}, {"y": [1, 2]}, {"w": ones(2)})
    assert [entry.name for entry in read_graph(path).inputs] == ["x"]


def test_another_dynamic_dimension_is_refused(write):
    path = write([helper.make_node("Relu", ["x"], ["y"])], {"x": ["n", "time"]}, {"y": ["n", "time"]}, {})
    with pytest.raises(UsageError, match="dimension 1 of input 'x' is dynamic; only the batch"):
        read_graph(path)


def test_an_input_of_strings_is_refused(write):
    text = (TensorProto.STRING, [1])
    path = write([helper.make_node("Identity", ["x"], ["y"])], {"x": text}, {"y": text}, {})
    with pytest.raises(UsageError, match=r"input 'x' takes .* cannot be drawn at random"):
        read_graph(path)


def test_an_input_without_a_shape_is_refused(write):
    shapeless = (TensorProto.FLOAT, None)
    path = write([helper.make_node("Relu", ["x"], ["y"])], {"x": shapeless}, {"y": shapeless}, {})
    with pytest.raises(UsageError, match="input 'x' has no shape"):
        read_graph(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UsageError, match=r"nowhere\.onnx does not exist"):
        read_graph(tmp_path / "nowhere.onnx")


@pytest.mark.parametrize("content", [b"", b"plain text, no protobuf", b"\x08\x0a"])
def test_a_file_that_is_no_onnx_model_is_named(tmp_path, content):
    path = tmp_path / "broken.onnx"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"broken\.onnx is not an ONNX model"):
        read_graph(path)


@pytest.fixture
def split(light, tmp_path):
    """The light network with its weights in a file of their own."""
    path = tmp_path / "split.onnx"
    onnx.save(onnx.load(light), path, save_as_external_data=True, location="split.data", size_threshold=0)
    return path


def test_external_data_is_found_and_counted(split, light):
    found = read_graph(split)
    assert found.external == (split.parent / "split.data",)
    assert found.parameters == read_graph(light).parameters == 192 * 192


def test_missing_external_data_is_named(split):
    (split.parent / "split.data").unlink()
    with pytest.raises(CheckpointError, match=r"split\.onnx: the weights of 'w' cannot be read"):
        read_graph(split)


def test_external_data_outside_the_folder_is_refused(split, tmp_path):
    model = onnx.load(split, load_external_data=False)
    model.graph.initializer[0].external_data[0].value = "../split.data"
    inner = tmp_path / "inner"
    inner.mkdir()
    (inner / "escape.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(CheckpointError, match=r"the weights of 'w' lie in '\.\./split\.data', which is not inside the"):
        read_graph(inner / "escape.onnx")
