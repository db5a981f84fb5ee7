import subprocess
import sys
import time
from pathlib import Path

import pytest

from compressor.benchmarking import process
from compressor.errors import CompressorError
from compressor.progress import silent


@pytest.fixture
def worker(monkeypatch, tmp_path):
    """Put a script of the test in the worker's place."""

    def become(script):
        (tmp_path / "stand_in.py").write_text("import json, os, signal, sys\n" + script)
        monkeypatch.setenv("PYTHONPATH", str(tmp_path))
        monkeypatch.setattr(process, "WORKER", "stand_in")

    return become


def test_the_answer_comes_back(worker):
    worker("request = json.loads(input()); print(json.dumps({'answer': {'twice': 2 * request['n']}}))")
    assert process.request({"n": 21}, dict[str, int], silent, seconds=60) == {"twice": 42}


def test_progress_is_passed_on(worker):
    worker('print(\'{"progress": [0.5, "half"]}\'); print(\'{"answer": {}}\')')
    seen = []
    process.request({}, dict[str, int], lambda done, text: seen.append((done, text)), seconds=60)
    assert seen == [(0.5, "half")]


def test_an_error_of_the_worker_is_ours(worker):
    worker("print(json.dumps({'error': 'cannot load a.onnx'}))")
    with pytest.raises(CompressorError, match=r"^cannot load a\.onnx$"):
        process.request({}, dict[str, int], silent, seconds=60)


@pytest.mark.parametrize(
    ("script", "complaint"),
    [
        ("raise RuntimeError('out of luck')", r"died \(exit code 1\): RuntimeError: out of luck"),
        ("os.kill(os.getpid(), signal.SIGKILL)", r"died \(killed by SIGKILL\): it said nothing"),
        ('sys.stdout.write(\'{"answer": {"cut"\'); sys.stdout.flush(); os._exit(3)', r"died \(exit code 3\)"),
        ("sys.exit(0)", r"died \(exit code 0\)"),
    ],
)
def test_a_dead_worker_is_told_with_its_last_words(worker, script, complaint):
    worker(script)
    with pytest.raises(CompressorError, match=complaint):
        process.request({"much": "x" * 1_000_000}, dict[str, int], silent, seconds=60)


def test_the_worker_ends_when_the_caller_is_interrupted(worker):
    worker("print(json.dumps({'progress': [0, str(os.getpid())]}), flush=True); signal.pause()")
    seen = []

    def interrupt(done, text):
        seen.append(int(text))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        process.request({}, dict[str, int], interrupt, seconds=60)
    with pytest.raises(ProcessLookupError):
        process.os.kill(seen[0], 0)


ASKS = """
import sys
from compressor.benchmarking.onnx_file import read_graph
from compressor.benchmarking.process import LatencyAnswer, LatencyTask, Subject, request
from compressor.records.benchmark import BenchmarkSettings
from pathlib import Path

path = Path(sys.argv[1])
settings = BenchmarkSettings(provider="cpu", threads=1, batches=(1,), pairs=100000, rounds=2, max_seconds=600.0)
task = LatencyTask((Subject(str(path), read_graph(path).inputs, 0),), settings)
request(task, LatencyAnswer, lambda share, text: print(text, flush=True), seconds=600)
"""


def test_the_real_worker_ends_when_the_caller_is_killed(finished, environment):
    command = [sys.executable, "-c", ASKS, str(finished[0] / "small.onnx")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as caller:
        assert caller.stdout.readline()  # it measures
        (worker,) = Path(f"/proc/{caller.pid}/task/{caller.pid}/children").read_text().split()
        caller.kill()
    until = time.monotonic() + 10
    while Path(f"/proc/{worker}/cmdline").exists() and Path(f"/proc/{worker}/cmdline").read_text():
        assert time.monotonic() < until, "the worker goes on without anybody who waits for it"
        time.sleep(0.02)


def test_the_real_worker_imports_no_torch():
    script = f"import sys, {process.WORKER}; print('onnxruntime' in sys.modules, 'torch' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert found.stdout.split() == ["True", "False"]
