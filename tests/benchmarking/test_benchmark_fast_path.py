"""Widths that the runtime does not reward, in ONNX graphs, and what they cost."""

import numpy as np
import pytest
from onnx import TensorProto, helper

from compressor import benchmarking
from compressor.benchmarking import benchmark, fast_path, width_costs
from compressor.benchmarking.onnx_file import read_graph
from compressor.benchmarking.process import LayerAt, LayersAnswer, LayersTask
from compressor.errors import CompressorError
from compressor.progress import silent
from compressor.records.benchmark import BenchmarkSettings, UnalignedLayer, WidthCost
from compressor.records.costs import Layer

SETTINGS = BenchmarkSettings(provider="cpu", threads=1, batches=(1,))


@pytest.fixture(autouse=True)
def block(monkeypatch):
    """A processor that computes 16 channels at once, whichever this one is."""
    monkeypatch.setattr(fast_path, "channel_block", lambda: 16)


def conv(given, made, weight, **attributes):
    return helper.make_node("Conv", [given, weight], [made], name=made, pads=[1] * 4, **attributes)


def random(*shape):
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


@pytest.fixture
def chain(write):
    """3x3 convolutions of the widths given, in a row, with ReLUs between, on 8x8 pixels of 16 channels."""

    def build(*widths):
        nodes, weights, tensor, channels = [], {}, "x", 16
        for i, width in enumerate(widths):
            weights[f"w{i}"] = random(width, channels, 3, 3)
            nodes += [conv(tensor, f"c{i}", f"w{i}"), helper.make_node("Relu", [f"c{i}"], [f"r{i}"])]
            tensor, channels = f"r{i}", width
        return write(nodes, {"x": ["n", 16, 8, 8]}, {tensor: ["n", channels, 8, 8]}, weights)

    return build


def found(path):
    return [(one.name, one.channels, one.rule, one.step, one.snapped) for one in read_graph(path).unaligned]


@pytest.mark.parametrize(
    ("widths", "expected"),
    [
        ((16, 48, 10), []),
        ((12, 16), [("c0", 12, "block", 16, (16,))]),
        ((52, 16), [("c0", 52, "block", 16, (48, 64))]),
        ((31, 16), [("c0", 31, "layout", 4, (28, 32))]),
        ((3, 16), [("c0", 3, "layout", 4, (4,))]),
    ],
)
def test_widths_between_the_steps_are_found_with_the_steps_beside_them(chain, widths, expected):
    assert found(chain(*widths)) == expected


def test_blocks_are_those_of_the_processor(chain, monkeypatch):
    monkeypatch.setattr(fast_path, "channel_block", lambda: 8)
    assert found(chain(24, 16)) == []
    assert found(chain(12, 16)) == [("c0", 12, "block", 8, (8, 16))]


def test_a_width_that_only_a_linear_layer_reads_pays_for_its_block_but_needs_no_fours(write):
    nodes = [
        conv("x", "c", "w"),
        helper.make_node("GlobalAveragePool", ["c"], ["p"]),
        helper.make_node("Flatten", ["p"], ["f"]),
        helper.make_node("MatMul", ["f", "v"], ["y"]),
    ]
    path = write(nodes, {"x": ["n", 16, 8, 8]}, {"y": ["n", 5]}, {"w": random(18, 16, 3, 3), "v": random(18, 5)})
    assert found(path) == [("c", 18, "block", 16, (16, 32))]


def sites(path):
    return [one.site for one in read_graph(path).unaligned]


PLAIN = Layer(kind="convolution", size=(8, 8), kernel=(3, 3), strides=(1, 1), padding=(1, 1), dilations=(1, 1))


def test_a_layer_is_timed_with_the_convolution_that_reads_it_alone(chain):
    (site,) = sites(chain(12, 32))
    assert (site.layer, site.inputs, site.readers) == (PLAIN, 16, ((PLAIN, 32),))
    assert list(site.at(8)) == [(PLAIN, 16, 8), (PLAIN, 8, 32)]


def test_a_depthwise_layer_has_as_many_inputs_as_outputs(write):
    nodes = [conv("x", "a", "w"), conv("a", "b", "v", group=12), conv("b", "y", "u")]
    weights = {"w": random(12, 16, 3, 3), "v": random(12, 1, 3, 3), "u": random(16, 12, 3, 3)}
    first, second = sites(write(nodes, {"x": ["n", 16, 8, 8]}, {"y": ["n", 16, 8, 8]}, weights))
    assert [at[1:] for at in first.at(8)] == [(16, 8), (8, 8)]
    assert [at[1:] for at in second.at(8)] == [(8, 8), (8, 16)]
    assert second.layer.kind == "depthwise"


def test_channels_that_are_added_to_others_have_no_reader_of_their_own(write):
    nodes = [conv("x", "a", "w"), conv("x", "b", "w"), helper.make_node("Add", ["a", "b"], ["s"]), conv("s", "y", "v")]
    weights = {"w": random(12, 16, 3, 3), "v": random(16, 12, 3, 3)}
    path = write(nodes, {"x": ["n", 16, 8, 8]}, {"y": ["n", 16, 8, 8]}, weights)
    assert [(site.inputs, site.readers) for site in sites(path)] == [(16, ()), (16, ())]


@pytest.mark.parametrize(
    "attributes", [{"pads": [0, 0, 1, 1]}, {"auto_pad": "SAME_UPPER"}, {"pads": [1] * 4, "group": 2}]
)
def test_what_cannot_be_timed_alone_has_no_site(write, attributes):
    nodes = [helper.make_node("Conv", ["x", "w"], ["a"], **attributes), conv("a", "y", "v")]
    weights = {"w": random(30, 16 // attributes.get("group", 1), 3, 3), "v": random(16, 30, 3, 3)}
    path = write(nodes, {"x": ["n", 16, 8, 8]}, {"y": ["n", 16, "h", "w"]}, weights)
    assert [(one.rule, one.site) for one in read_graph(path).unaligned] == [("layout", None)]


def test_another_precision_is_not_timed_as_if_it_were_single(write):
    half = TensorProto.FLOAT16
    weights = {"w": random(31, 16, 3, 3).astype(np.float16), "v": random(16, 31, 3, 3).astype(np.float16)}
    shapes = {"x": (half, ["n", 16, 8, 8])}, {"y": (half, ["n", 16, 8, 8])}
    (one,) = read_graph(write([conv("x", "a", "w"), conv("a", "y", "v")], *shapes, weights)).unaligned
    assert (one.channels, one.rule, one.site) == (31, "layout", None)


def test_costs_are_those_of_the_layer_and_its_reader(chain, monkeypatch):
    """A worker that says a hundred times the inputs and outputs, and is disturbed in one pass of three."""
    asked = []

    def request(task, answer, on_progress, *, seconds):
        asked.append(task)
        return LayersAnswer(tuple((1e9, 100.0 * one.inputs + one.outputs, 100.0 * one.inputs + one.outputs)
                                  for one in task.layers))  # fmt: skip

    monkeypatch.setattr(width_costs, "request", request)
    graph = read_graph(chain(52, 32))
    times = width_costs.time_widths(graph.unaligned, SETTINGS, seconds=60.0, on_progress=silent)
    assert width_costs.unaligned_layer(graph.unaligned[0], times) == UnalignedLayer(
        name="c0",
        channels=52,
        rule="block",
        step=16,
        us=1652.0 + 5232.0,
        snapped=(WidthCost(channels=48, us=1648.0 + 4832.0), WidthCost(channels=64, us=1664.0 + 6432.0)),
    )
    (task,) = asked
    assert isinstance(task, LayersTask)
    assert task.layers[0] == LayerAt(PLAIN, 16, 52)


def test_the_largest_layers_are_timed_first_and_the_others_as_far_as_there_is_time(chain, monkeypatch):
    monkeypatch.setattr(width_costs, "SECONDS_EACH", 1.0)
    monkeypatch.setattr(
        width_costs, "request", lambda task, *others, **limit: LayersAnswer(((5.0,),) * len(task.layers))
    )
    graph = read_graph(chain(12, 52, 28, 16))
    times = width_costs.time_widths(graph.unaligned, SETTINGS, seconds=9.5, on_progress=silent)
    known = [width_costs.unaligned_layer(one, times).us for one in graph.unaligned]
    assert [us is not None for us in known] == [False, False, True]  # 52 to 28 channels is the largest
    assert width_costs.time_widths(graph.unaligned, SETTINGS, seconds=0.1, on_progress=silent) == {}


def test_a_file_without_such_layers_asks_nothing(light, monkeypatch):
    monkeypatch.setattr(width_costs, "request", None)
    found = read_graph(light).unaligned
    assert width_costs.time_widths(found, SETTINGS, seconds=60.0, on_progress=silent) == {}


def test_a_benchmark_times_widths_for_real(chain):
    (variant,) = benchmark([chain(31, 64)], max_seconds=5.0, pairs=2, rounds=1).variants
    (layer,) = variant.unaligned_layers
    assert (layer.name, layer.channels, [one.channels for one in layer.snapped]) == ("c0", 31, [28, 32])
    assert layer.us > 0
    assert all(one.us > 0 for one in layer.snapped)


def test_layers_that_cannot_be_run_alone_do_not_stop_a_benchmark(chain, monkeypatch):
    def fail(*args, **others):
        raise CompressorError("the benchmark process died")

    monkeypatch.setattr(benchmarking, "time_widths", fail)
    report = benchmark([chain(31, 64)], max_seconds=2.0, pairs=2, rounds=1)
    assert "layers off the fast path were not timed: the benchmark process died" in report.warnings
    assert report.variants[0].unaligned_layers[0].us is None


def test_without_details_nothing_but_the_files_is_timed(chain):
    (variant,) = benchmark([chain(31, 64)], max_seconds=2.0, pairs=2, rounds=1, details=False).variants
    assert (variant.operators, variant.providers) == ((), ())
    assert [(one.channels, one.us) for one in variant.unaligned_layers] == [(31, None)]
