"""A run whose files do not run where it was asked to stops before it measures, and goes on when told to."""

import json
import shutil
from pathlib import Path

import pytest

from compressor import benchmarking
from compressor.benchmarking.process import FileProfile, ProfileAnswer, ProfileTask
from compressor.benchmarking.profiling import ProfiledNode

HERE, ELSEWHERE = "OpenVINOExecutionProvider", "CPUExecutionProvider"


@pytest.fixture
def scattered(monkeypatch):
    """A runtime that puts half of the nodes elsewhere."""
    real, nodes = benchmarking.request, (ProfiledNode("a", "Conv", HERE, 3.0), ProfiledNode("b", "Det", ELSEWHERE, 1.0))

    def request(task, answer, on_progress, **limit):
        if isinstance(task, ProfileTask):
            return ProfileAnswer((FileProfile(HERE, None, nodes),) * 2)
        return real(task, answer, on_progress, **limit)

    monkeypatch.setattr(benchmarking, "request", request)


@pytest.mark.usefixtures("scattered")
def test_nodes_elsewhere_stop_a_run_until_they_are_allowed(finished, compress, tiny, run_options):
    shutil.copytree(finished[0], "r")
    Path("r/stages/benchmark.json").unlink()
    line = ("run", tiny.checkpoint, "--arch", tiny.arch, *run_options, "--out", "r")
    told = f"dense: 1 of 2 nodes and 25 % of the time are on {ELSEWHERE} instead of {HERE}: Det"
    stopped = compress(*line)
    assert (stopped.exit_code, stopped.error[-1]) == (1, f"Error: {told}; --allow-fallback measures it nevertheless")
    done = compress(*line, "--allow-fallback")
    assert done.exit_code == 0
    assert done.stderr.count("finished before, not repeated") == 5
    assert told in done.stderr
    assert told in json.loads(Path("r/report.json").read_text())["benchmark"]["warnings"]
