"""Small ONNX files, built without torch."""

from itertools import pairwise

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from compressor.benchmarking import benchmark


def save(path, nodes, inputs, outputs, weights, **metadata):
    def described(tensors):
        return [
            helper.make_tensor_value_info(n, *(t if isinstance(t, tuple) else (TensorProto.FLOAT, t)))
            for n, t in tensors.items()
        ]

    stored = [numpy_helper.from_array(np.asarray(value), name) for name, value in weights.items()]
    graph = helper.make_graph(nodes, "graph", described(inputs), described(outputs), stored)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    helper.set_model_props(model, metadata)
    onnx.save(model, path)
    return path


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("networks")


@pytest.fixture
def write(tmp_path):
    """Write a graph of the nodes given into the test's own folder."""
    return lambda *args, **metadata: save(tmp_path / "network.onnx", *args, **metadata)


def products(path, count, width=192, batch="batch"):
    """``count`` matrix products of ``width`` in a row."""
    weight = np.random.default_rng(0).standard_normal((width, width)).astype(np.float32) / width**0.5
    names = ["x", *(f"h{i}" for i in range(1, count)), "y"]
    nodes = [helper.make_node("MatMul", [a, "w"], [b]) for a, b in pairwise(names)]
    return save(path, nodes, {"x": [batch, 64, width]}, {"y": [batch, 64, width]}, {"w": weight})


@pytest.fixture(scope="session")
def light(folder):
    return products(folder / "light.onnx", 1)


@pytest.fixture(scope="session")
def heavy(folder):
    """Eight times the work of ``light``."""
    return products(folder / "heavy.onnx", 8)


@pytest.fixture(scope="session")
def fixed(folder):
    """A batch of 2 and nothing else."""
    return products(folder / "fixed.onnx", 1, batch=2)


@pytest.fixture
def unknown_operator(tmp_path):
    """A valid file whose only operator no runtime has."""
    node = helper.make_node("Nonsense", ["x"], ["y"])
    return save(tmp_path / "odd.onnx", [node], {"x": [1]}, {"y": [1]}, {})


@pytest.fixture(scope="session")
def measured(light, heavy):
    """One quick run of the light network, the baseline, and the heavy one."""
    return benchmark([light, heavy], pairs=3, rounds=2, max_seconds=5.0)
