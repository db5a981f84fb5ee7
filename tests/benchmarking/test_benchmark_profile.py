"""What each node takes, where it ran, and what is said of those that ran elsewhere."""

import json
from itertools import pairwise

import numpy as np
import pytest
from onnx import helper

from compressor import benchmarking
from compressor.benchmarking import benchmark, placement
from compressor.benchmarking.node_times import COMPILED, NodeTime, recorded
from compressor.benchmarking.process import FileProfile, ProfileAnswer, ProfileTask
from compressor.benchmarking.profiling import ProfiledNode, profiles
from compressor.errors import CompressorError, UsageError
from compressor.records.benchmark import BenchmarkSettings
from compressor.runtime import available, open_session

CPU, VINO = "CPUExecutionProvider", "OpenVINOExecutionProvider"


def node(name, us, provider=VINO, *, operator="Conv", of_shapes=False):
    return ProfiledNode(name, operator, provider, us, of_shapes)


def settings(*, allow_fallback=False):
    return BenchmarkSettings(provider="openvino", threads=1, batches=(1,), allow_fallback=allow_fallback)


def test_every_node_of_a_file_is_in_its_report(measured):
    light, heavy = measured.variants
    assert [(one.operator, one.provider, one.nodes) for one in light.operators] == [("MatMul", CPU, 1)]
    assert [(one.operator, one.nodes) for one in heavy.operators] == [("MatMul", 8)]
    assert heavy.operators[0].us > 4 * light.operators[0].us > 0
    assert [(one.provider, one.nodes, one.shape_nodes) for one in heavy.providers] == [(CPU, 8, 0)]


class Session:
    """Writes a profile of the events given, one list a run."""

    def __init__(self, path, runs):
        self.path, self.runs, self.calls = path, iter(runs), []

    def call(self):
        self.calls += next(self.runs)

    def end_profiling(self):
        self.path.write_text(json.dumps([{"cat": "Session", "name": "model_run", "dur": 1}, *self.calls]))
        return str(self.path)


def event(name, us, operator="Conv", provider=CPU, given=((1, 3, 4, 4),), made=((1, 8, 4, 4),)):
    shapes = {f"{side}_type_shape": [{"float": list(one)} for one in sides]
              for side, sides in (("input", given), ("output", made))}  # fmt: skip
    return {"cat": "Node", "name": f"{name}_kernel_time", "dur": us,
            "args": {"op_name": operator, "provider": provider, **shapes}}  # fmt: skip


def record(runs, *, warm):
    def opened(path):
        session = Session(path, runs)
        return session, session.call

    return recorded(opened, warm=warm, runs=len(runs) - warm)


def test_warm_runs_and_the_slower_half_do_not_count():
    runs = [[event("a", us)] for us in (900, 10, 12, 500, 700)]
    (one,) = record(runs, warm=1)
    assert (one.name, one.operator, one.provider, one.us) == ("a", "Conv", CPU, 11)


def test_the_body_of_a_loop_counts_as_often_as_it_runs_and_the_loop_itself_not():
    runs = [[event("body", 10), event("body", 10), event("body", 10), event("loop", 40, "Loop")] for _ in range(4)]
    (one,) = record(runs, warm=2)
    assert (one.name, one.us_per_call) == ("body", 30)


def test_compiled_nodes_have_one_name_in_all_sessions():
    def session(number):
        name = f"{VINO}_OpenVINO-EP-subgraph_{number}_0"
        return [[event(name, 10, f"OpenVINO-EP-subgraph_{number}", VINO)]] * 3

    first, second = (record(session(number), warm=1) for number in (1, 2))
    assert first == second
    assert first[0].operator == COMPILED


@pytest.mark.parametrize(
    ("operator", "given", "made", "expected"),
    [
        ("Shape", [(1, 3, 224, 224)], [(4,)], True),
        ("Gather", [(4,), ()], [()], True),
        ("Concat", [(1,), (1,)], [(2,)], True),
        ("ArgMax", [(1, 1000)], [(1,)], False),
        ("Add", [(64,), (64,)], [(64,)], False),
        ("NoInputsKnown", [], [], False),
    ],
)
def test_nodes_that_only_compute_shapes_are_known_by_what_they_take_and_make(operator, given, made, expected):
    (one,) = record([[event("n", 3, operator, CPU, given, made)]] * 2, warm=1)
    assert one.of_shapes is expected


def test_files_are_profiled_in_turns_and_count_with_their_quickest_session(monkeypatch):
    times = {"a": iter([999, 30, 10, 20]), "b": iter([1, 7, 8, 9])}
    order = []

    def session(opened, *, warm, runs):
        order.append(opened)
        return [NodeTime(opened, "Conv", CPU, (next(times[opened]),) * runs, runs=runs)]

    monkeypatch.setattr("compressor.benchmarking.profiling.recorded", session)
    found = profiles(["a", "b"], seconds=60.0)
    # Of the three sessions behind the first, which only tells how many runs fit.
    assert [nodes[0].us for nodes in found] == [10, 7]
    assert "".join(order) == "abababab"


def test_slow_files_are_profiled_by_their_first_session_alone(monkeypatch):
    def session(opened, *, warm, runs):
        return [NodeTime("a", "Conv", CPU, (7,) * runs, runs=runs)]

    monkeypatch.setattr("compressor.benchmarking.profiling.recorded", session)
    monkeypatch.setattr("compressor.benchmarking.profiling.time.perf_counter", iter((0.0, 50.0)).__next__)
    ((one,),) = profiles([None], seconds=6.0)
    assert one.us == 7


def test_the_runtime_times_every_node_of_a_model(light):
    def opened(profile):
        session = open_session(light, threads=1, profile=profile)
        return session, lambda: session.run(None, {"x": np.zeros((1, 64, 192), np.float32)})

    (one,) = recorded(opened, warm=5, runs=4)
    assert (one.operator, len(one.runs_us)) == ("MatMul", 4)
    assert one.us == one.us_per_call > 0


def test_a_session_that_is_not_asked_to_writes_no_profile(light, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    open_session(light, threads=1).run(None, {"x": np.zeros((1, 64, 192), np.float32)})
    assert not [*tmp_path.iterdir()]


ELSEWHERE = FileProfile(
    VINO,
    30,
    (
        ProfiledNode("compiled 0", COMPILED, VINO, 60.0),
        node("d", 25.0, CPU, operator="Det"),
        *(node(f"r{i}", 5.0, CPU, operator="Resize") for i in range(3)),
        node("s", 1.0, CPU, operator="Shape", of_shapes=True),
    ),
)
WORDS = f"net: 4 of 35 nodes and 40 % of the time are on {CPU} instead of {VINO}: Det, Resize (3)"


def test_nodes_elsewhere_are_an_error_with_their_shares():
    with pytest.raises(CompressorError) as caught:
        placement.check_placement(["net"], [ELSEWHERE], settings())
    assert str(caught.value) == f"{WORDS}; --allow-fallback measures it nevertheless"


def test_nodes_elsewhere_are_a_warning_when_they_are_allowed():
    assert placement.check_placement(["net"], [ELSEWHERE], settings(allow_fallback=True)) == (WORDS,)


def test_a_provider_that_ran_nothing_is_an_error_even_when_others_are_allowed():
    gone = FileProfile(VINO, None, (node("a", 1.0, CPU),))
    with pytest.raises(CompressorError, match=f"1 of 1 nodes and 100 % of the time are on {CPU} instead of {VINO}"):
        placement.check_placement(["net"], [gone], settings(allow_fallback=True))


def test_shapes_on_the_cpu_are_no_fallback_but_are_counted():
    kept = FileProfile(VINO, None, (node("a", 9.0), node("s", 1.0, CPU, operator="Shape", of_shapes=True)))
    assert placement.check_placement(["net"], [kept], settings()) == ()
    shares = placement.provider_shares(kept)
    assert [(one.provider, one.nodes, one.shape_nodes, one.us) for one in shares] == [(VINO, 1, 0, 9), (CPU, 1, 1, 1)]


def test_many_operators_elsewhere_are_named_by_their_time_and_then_counted():
    nodes = tuple(node(f"n{i}", float(i), CPU, operator=f"Op{i}") for i in range(1, 6))
    words = placement.fallback("net", FileProfile(VINO, None, (node("a", 1.0), *nodes)))
    assert words.endswith("Op5, Op4, Op3, 2 more")


def stand_in(monkeypatch, answer):
    """Let the worker's profile be another."""
    real = benchmarking.request

    def request(task, kind, on_progress, **limit):
        return answer if isinstance(task, ProfileTask) else real(task, kind, on_progress, **limit)

    monkeypatch.setattr(benchmarking, "request", request)


def test_a_benchmark_stops_at_nodes_elsewhere_before_it_times_anything(light, monkeypatch):
    stand_in(monkeypatch, ProfileAnswer((ELSEWHERE,)))
    with pytest.raises(CompressorError, match=r"^net: 4 of 35 nodes"):
        benchmark([light], names=["net"], max_seconds=2.0)


def test_a_benchmark_with_nodes_elsewhere_says_so_in_its_report(light, monkeypatch):
    stand_in(monkeypatch, ProfileAnswer((ELSEWHERE,)))
    report = benchmark([light], names=["net"], max_seconds=2.0, pairs=2, rounds=1, allow_fallback=True)
    assert WORDS in report.warnings
    assert report.settings.allow_fallback
    assert [one.provider for one in report.variants[0].providers] == [VINO, CPU]


needs_openvino = pytest.mark.skipif(
    "openvino" not in available(), reason="this ONNX Runtime has no OpenVINO (pip install onnxruntime-openvino)"
)


@needs_openvino
def test_openvino_runs_a_whole_network(finished):
    report = benchmark([finished[0] / "dense.onnx"], provider="openvino", max_seconds=5.0)
    assert [one.provider for one in report.variants[0].providers] == [VINO]
    assert report.variants[0].providers[0].nodes > 5
    assert report.variants[0].unaligned_layers == ()  # blocks and fours are those of the CPU's own kernels


@needs_openvino
def test_openvino_that_takes_a_file_only_in_part_is_noticed(write):
    def convolutions(names):
        for given, made in pairwise(names):
            yield helper.make_node("Conv", [given, "w"], [f"{made}c"], pads=[1] * 4)
            yield helper.make_node("Relu", [f"{made}c"], [made])

    nodes = [
        *convolutions("xabcde"),
        helper.make_node("RandomUniformLike", ["e"], ["r"]),
        helper.make_node("Add", ["e", "r"], ["f"]),
        *convolutions("fghijky"),
    ]
    shape = ["n", 16, 32, 32]
    path = write(nodes, {"x": shape}, {"y": shape}, {"w": np.full((16, 16, 3, 3), 0.01, np.float32)})
    with pytest.raises(CompressorError, match=r"the time are on CPU\w+ instead of OpenVINO\w+: .*RandomUniformLike"):
        benchmark([path], provider="openvino", max_seconds=5.0)
    report = benchmark([path], provider="openvino", max_seconds=5.0, allow_fallback=True)
    assert {one.provider for one in report.variants[0].providers} == {VINO, CPU}


@pytest.mark.skipif("openvino" in available(), reason="this ONNX Runtime has OpenVINO")
def test_openvino_is_refused_where_it_is_not_installed(light):
    with pytest.raises(UsageError, match="has no provider openvino; it offers cpu"):
        benchmark([light], provider="openvino")
