"""ONNX files that reach out, grow or cost too much are refused before any runtime opens them."""

import os
import socket
import time
from itertools import pairwise

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from compressor import runtime
from compressor.benchmarking import benchmark, process, try_out
from compressor.benchmarking.macs import count_macs
from compressor.benchmarking.onnx_file import check_batch, read_graph
from compressor.benchmarking.process import TrialTask
from compressor.errors import CheckpointError, CompressorError, UsageError
from compressor.limits import memory_limit
from compressor.onnx_safety import read_model
from compressor.progress import silent
from compressor.runtime import open_session

RELU = helper.make_node("Relu", ["x"], ["y"])
SHAPE = {"x": ["n", 4]}, {"y": ["n", 4]}
MIB = 2**20


def outside(location, **more):
    """An INT64 tensor whose data lie in another file, as no exporter of ours makes one."""
    tensor = TensorProto(name="spy", data_type=TensorProto.INT64, dims=[2], data_location=TensorProto.EXTERNAL)
    for key, value in ({"location": location} | more).items():
        tensor.external_data.add(key=key, value=value)
    return tensor


def in_initializer(model, tensor):
    model.graph.initializer.append(tensor)


def in_constant(model, tensor):
    model.graph.node.append(helper.make_node("Constant", [], ["unused"], value=tensor))


def in_list(model, tensor):
    model.graph.node.append(helper.make_node("Constant", [], ["unused"], tensors=[tensor]))


def sparse(tensor, place):
    other = helper.make_tensor("other", TensorProto.INT64, [2], [0, 1])
    parts = {"values": other, "indices": other, place: tensor}
    return onnx.SparseTensorProto(dims=[4], **parts)


def in_sparse_values(model, tensor):
    model.graph.sparse_initializer.append(sparse(tensor, "values"))


def in_sparse_indices(model, tensor):
    model.graph.sparse_initializer.append(sparse(tensor, "indices"))


def in_sparse_attribute(model, tensor):
    model.graph.node.append(helper.make_node("Constant", [], ["unused"], sparse_value=sparse(tensor, "values")))


def in_subgraph(model, tensor):
    inner = helper.make_graph([RELU], "inner", [], [], [tensor])
    deeper = helper.make_graph([helper.make_node("If", ["c"], ["z"], then_branch=inner)], "deeper", [], [])
    model.graph.node.append(helper.make_node("If", ["c"], ["z"], else_branch=deeper))


def in_function(model, tensor):
    body = [helper.make_node("Constant", [], ["y"], value=tensor)]
    model.functions.append(helper.make_function("own", "F", [], ["y"], body, []))


def in_default_of_function(model, tensor):
    function = helper.make_function("own", "F", [], ["y"], [RELU], [])
    function.attribute_proto.append(helper.make_attribute("value", tensor))
    model.functions.append(function)


def in_training(model, tensor):
    model.training_info.add().algorithm.initializer.append(tensor)


PLACES = [
    in_initializer,
    in_constant,
    in_list,
    in_sparse_values,
    in_sparse_indices,
    in_sparse_attribute,
    in_subgraph,
    in_function,
    in_default_of_function,
    in_training,
]


@pytest.fixture
def spying(write):
    """Write a network with a tensor, which nothing uses, whose data lie elsewhere."""

    def build(location, put=in_initializer, **more):
        path = write([RELU], *SHAPE, {})
        model = onnx.load(path)
        put(model, outside(location, **more))
        path.write_bytes(model.SerializeToString())
        return path

    return build


@pytest.mark.parametrize("put", PLACES)
def test_every_reference_to_another_file_is_checked(spying, put):
    with pytest.raises(CheckpointError, match=r"the weights of 'spy' lie in '/etc/passwd', which is not inside"):
        read_model(spying("/etc/passwd", put))


@pytest.mark.parametrize("location", ["../secret", "/etc/passwd", "", ".", "inner/../../secret", "*/_ORT_MEM_ADDR_/*"])
def test_a_place_outside_of_the_folder_is_refused(spying, tmp_path, location):
    (tmp_path.parent / "secret").write_bytes(bytes(16))
    with pytest.raises(CheckpointError, match=r"lie in .*, which is not inside|cannot be read: .*No such file"):
        read_model(spying(location))


def test_a_link_that_leaves_the_folder_is_refused(spying, tmp_path):
    (tmp_path / "weights").symlink_to("/etc/passwd")
    with pytest.raises(CheckpointError, match="lie in 'weights', which is not inside"):
        read_model(spying("weights"))


def test_a_linked_folder_that_leaves_the_folder_is_refused(spying, tmp_path):
    (tmp_path / "weights").symlink_to("/etc")
    with pytest.raises(CheckpointError, match="lie in 'weights/passwd', which is not inside"):
        read_model(spying("weights/passwd"))


def make_fifo(path):
    os.mkfifo(path)


def make_socket(path):
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path.name)  # its path may be too long for a socket


@pytest.mark.parametrize("make", [make_fifo, make_socket, os.mkdir])
def test_weights_in_what_is_no_regular_file_are_refused(spying, tmp_path, make):
    make(tmp_path / "weights")
    with pytest.raises(CheckpointError, match="lie in 'weights', which is no regular file"):
        read_model(spying("weights"))


@pytest.mark.parametrize(
    "more",
    [{"offset": "9"}, {"length": "17"}, {"offset": "-8"}, {"length": "9" * 5000}, {"offset": "1e3"}, {"offset": "٣"}],
)
def test_a_range_beyond_the_file_is_refused(spying, tmp_path, more):
    (tmp_path / "weights").write_bytes(bytes(16))
    with pytest.raises(CheckpointError, match="of 'weights', which holds 16 bytes") as caught:
        read_model(spying("weights", **({"length": "16"} | more)))
    assert len(str(caught.value)) < 400


def test_a_range_inside_the_file_is_fine(spying, tmp_path):
    (tmp_path / "weights").write_bytes(bytes(24))
    checked = read_model(spying("weights", offset="8", length="16"))
    assert checked.external == (tmp_path / "weights",)
    assert open_session(spying("weights", offset="8", length="16")) is not None


def test_many_tensors_on_the_same_bytes_are_counted_each(write, tmp_path):
    (tmp_path / "weights").write_bytes(bytes(MIB))
    path = write([RELU], *SHAPE, {})
    model = onnx.load(path)
    for _ in range(9):
        model.graph.initializer.append(outside("./weights"))
    path.write_bytes(model.SerializeToString())
    with memory_limit(7 * MIB), pytest.raises(CheckpointError, match=r"needs .* --max-memory allows more"):
        read_model(path)
    with memory_limit(8 * MIB):
        assert read_model(path).external == (tmp_path / "weights",)


def test_open_session_checks_by_itself(spying):
    with pytest.raises(CheckpointError, match="which is not inside"):
        open_session(spying("/dev/zero"))


def calling(count, times):
    """Functions in a chain, each of which calls the next so many times."""
    functions = []
    for i in range(count):
        names = ["x", *(f"h{k}" for k in range(1, times)), "y"]
        last = i == count - 1
        body = [helper.make_node("Relu" if last else f"F{i + 1}", [a], [b], domain="" if last else "own")
                for a, b in pairwise(names)]  # fmt: skip
        opsets = [helper.make_opsetid("", 18), helper.make_opsetid("own", 1)]
        functions.append(helper.make_function("own", f"F{i}", ["x"], ["y"], body, opsets))
    return functions


@pytest.fixture
def with_functions(write):
    def build(functions):
        path = write([helper.make_node("F0", ["x"], ["y"], domain="own")], *SHAPE, {})
        model = onnx.load(path)
        model.opset_import.add(domain="own", version=1)
        model.functions.extend(functions)
        path.write_bytes(model.SerializeToString())
        return path

    return build


@pytest.mark.parametrize(
    ("count", "times", "complaint"),
    [(40, 2, "grow it to more than 10000 nodes"), (2000, 1, "call themselves, or each other more than 100 deep")],
)
def test_functions_that_grow_without_end_are_refused(with_functions, count, times, complaint):
    with pytest.raises(CheckpointError, match=complaint):
        read_model(with_functions(calling(count, times)))


def test_a_function_that_calls_itself_is_refused(with_functions):
    (one,) = calling(1, 1)
    one.node[0].op_type, one.node[0].domain = "F0", "own"
    with pytest.raises(CheckpointError, match="call themselves"):
        read_model(with_functions([one]))


def test_functions_of_an_exporter_are_fine(with_functions):
    assert open_session(with_functions(calling(20, 1))).get_inputs()[0].name == "x"


def test_compiled_nodes_are_refused(write):
    node = helper.make_node("EPContext", ["x"], ["y"], domain="com.microsoft", ep_cache_context="/etc/passwd")
    with pytest.raises(CheckpointError, match="holds a compiled EPContext node"):
        read_model(write([node], *SHAPE, {}))


@pytest.mark.parametrize("word", [b"NAME", b"VALUE"])
def test_names_that_are_no_text_are_refused(write, word):
    path = write([helper.make_node("Relu", ["x"], ["y"], name="NAME")], *SHAPE, {}, key="VALUE")
    path.write_bytes(path.read_bytes().replace(word, b"\xff" * len(word)))
    with pytest.raises(CheckpointError, match="names or metadata that are no UTF-8 text"):
        read_model(path)


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        (lambda i: setattr(i.type.tensor_type, "elem_type", 0), "has the type 0, which ONNX does not know"),
        (lambda i: setattr(i.type.tensor_type, "elem_type", 99), "has the type 99, which ONNX does not know"),
        (lambda i: setattr(i.type.tensor_type, "elem_type", -1), "has the type -1, which ONNX does not know"),
        (lambda i: setattr(i.type.tensor_type, "elem_type", 19), "which cannot be drawn at random"),
        (lambda i: i.ClearField("type"), r"is no tensor \(no type\)"),
        (lambda i: i.type.sequence_type.elem_type.tensor_type.SetInParent(), r"is no tensor \(sequence\)"),
        (lambda i: i.type.optional_type.elem_type.tensor_type.SetInParent(), r"is no tensor \(optional\)"),
        (lambda i: i.type.map_type.SetInParent(), r"is no tensor \(map\)"),
        (lambda i: setattr(i.type.tensor_type.shape.dim[1], "dim_value", -4), "no size may be negative"),
    ],
)
def test_an_input_that_cannot_be_drawn_is_refused(write, spoil, complaint):
    path = write([RELU], *SHAPE, {})
    model = onnx.load(path)
    spoil(model.graph.input[0])
    path.write_bytes(model.SerializeToString())
    with pytest.raises(UsageError, match=complaint):
        read_graph(path)


def test_a_network_without_inputs_or_outputs_is_refused(write):
    constant = helper.make_node("Constant", [], ["y"], value_float=1.0)
    with pytest.raises(UsageError, match="has no inputs; there is nothing to run"):
        read_graph(write([constant], {}, {"y": []}, {}))
    with pytest.raises(UsageError, match="has no outputs; there is nothing to run"):
        read_graph(write([RELU], {"x": [1]}, {}, {}))


def test_an_enormous_input_is_refused_before_it_is_drawn(write):
    graph = read_graph(write([RELU], {"x": ["n", 1, 28, 100_000_000]}, {"y": ["n", 1, 28, 100_000_000]}, {}))
    with pytest.raises(CompressorError, match=r"a random input of batch 1 needs .* --max-memory allows more"):
        check_batch("net.onnx", graph.inputs, 1)


@pytest.mark.parametrize("opset", [0, -1, 10**9])
def test_unknown_opsets_are_one_line(write, opset):
    path = write([RELU], *SHAPE, {})
    model = onnx.load(path)
    model.opset_import[0].version = opset
    path.write_bytes(model.SerializeToString())
    with pytest.raises(CompressorError, match=r"network\.onnx") as caught:
        benchmark([path])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("node", [helper.make_node("Conv", ["x"], ["y"]), helper.make_node("MatMul", [], ["y"])])
def test_macs_of_a_node_that_lacks_inputs_are_unknown(node):
    shapes = {"x": (1, 3, 4, 4), "y": (1, 3, 4, 4)}
    assert count_macs(helper.make_graph([node], "graph", [], []), shapes) is None


def test_more_macs_than_a_report_can_hold_are_unknown(write):
    path = write([helper.make_node("MatMul", ["x", "x"], ["y"])], {"x": [2**40, 2**40]}, {"y": [2**40, 2**40]}, {})
    assert read_graph(path).macs is None


def bomb(write):
    """A network that asks for 160 GB when it runs, or is opened."""
    nodes = [
        helper.make_node("ConstantOfShape", ["size"], ["big"]),
        helper.make_node("ReduceMean", ["big"], ["mean"], keepdims=0),
        helper.make_node("Add", ["x", "mean"], ["y"]),
    ]
    return write(nodes, *SHAPE, {"size": np.array([40_000_000_000])})


def test_a_network_that_asks_for_too_much_memory_is_stopped(write):
    with pytest.raises(CompressorError, match=r"network\.onnx does not .* --max-memory allows more"):
        try_out(bomb(write), (), (4,))
    with pytest.raises(CompressorError, match=r"network\.onnx does not run at batch 1: .* --max-memory allows more"):
        benchmark([bomb(write)])


def test_a_network_that_takes_for_ever_is_stopped(write):
    product = [helper.make_node("MatMul", [f"c{i}", "c0"], [f"c{i + 1}"]) for i in range(50)]
    nodes = [
        helper.make_node("ConstantOfShape", ["size"], ["c0"]),
        *product,
        helper.make_node("ReduceMean", ["c50"], ["mean"], keepdims=0),
        helper.make_node("Add", ["x", "mean"], ["y"]),
    ]
    path = write(nodes, *SHAPE, {"size": np.array([4000, 4000])})
    task, started = TrialTask(str(path), (4,), 1000), time.monotonic()
    with pytest.raises(CompressorError, match=r"running the model took more than 1 s, so it was stopped; do less"):
        process.request(task, bool, silent, seconds=1, lifted_by="; do less")
    assert time.monotonic() - started < 10


def test_errors_of_the_runtime_are_not_logged_with_names_from_the_file(write, capfd):
    node = helper.make_node("Reshape", ["x", "s"], ["y"], name="\x1b[2Jevil")
    session = open_session(write([node], {"x": ["n", 4]}, {"y": [3]}, {"s": np.array([3])}))
    with pytest.raises(Exception, match="evil"):
        session.run(None, {"x": np.zeros((1, 4), np.float32)})
    assert capfd.readouterr() == ("", "")


def test_no_other_format_than_onnx_is_opened(light, tmp_path):
    path = tmp_path / "light.ort"
    path.write_bytes(light.read_bytes())
    assert open_session(path).get_inputs()
    assert runtime.why(MemoryError("std::bad_alloc")).startswith("it needs more memory than is allowed; --max-memory")
