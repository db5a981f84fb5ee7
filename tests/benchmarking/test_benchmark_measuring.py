from dataclasses import replace

import pytest
from compressor.benchmarking.document import Settings

from compressor.benchmarking import measuring
from compressor.benchmarking.graph import read_graph
from compressor.benchmarking.inputs import Input
from compressor.benchmarking.measuring import graph_warnings, measure, silent


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
    def ask(request, say):
        return {"unavailable": "no /proc"} if request["task"] == "memory" else real(request, say)

    real = measuring.ask
    monkeypatch.setattr(measuring, "ask", ask)
    settings = Settings(provider="cpu", threads=1, batches=(1,), pairs=3, rounds=1, seed=0, max_seconds=2.0)
    variants, _, warnings = measure([light, heavy], ["a", "b"], settings, silent)
    assert [variant.memory for variant in variants] == [None, None]
    assert warnings[0] == "memory was not measured: no /proc"
