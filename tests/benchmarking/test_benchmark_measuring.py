from dataclasses import replace

import pytest

from compressor import benchmarking
from compressor.benchmarking import graph_warnings, measure
from compressor.benchmarking.onnx_file import Input, read_graph
from compressor.benchmarking.process import MemoryAnswer, MemoryTask
from compressor.progress import silent
from compressor.records.benchmark import BenchmarkSettings


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"macs": None}, ["b: MACs are unknown, because shapes cannot be inferred"]),
        ({"uncounted": ("Einsum", "LSTM")}, ["b: MACs leave out Einsum, LSTM"]),
        ({"inputs": (Input("x", "float32", (None, 9)),)}, ["b takes inputs of other shapes than a"]),
        ({"inputs": (Input("other name", "float32", (1, 64, 192)),)}, []),
    ],
)
def test_incomplete_and_uneven_graphs_are_warned_of(light, change, expected):
    graph = read_graph(light)
    assert graph_warnings(["a", "b"], [graph, replace(graph, **change)]) == expected


def test_memory_that_cannot_be_measured_is_none_with_a_warning(light, heavy, monkeypatch):
    def request(task, answer, on_progress, **limit):
        gone = MemoryAnswer(None, "no /proc")
        return gone if isinstance(task, MemoryTask) else real(task, answer, on_progress, **limit)

    real = benchmarking.request
    monkeypatch.setattr(benchmarking, "request", request)
    settings = BenchmarkSettings(provider="cpu", threads=1, batches=(1,), pairs=3, rounds=1, seed=0, max_seconds=2.0)
    measured = measure([light, heavy], ["a", "b"], settings, silent)
    assert [variant.memory for variant in measured.variants] == [None, None]
    assert measured.warnings[0] == "memory was not measured: no /proc"
