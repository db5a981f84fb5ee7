"""How often does a benchmark see a difference where there is none, and none where there is one?

Compares a small convolutional network with a byte-identical copy of itself, and with one that has a tenth of the
convolutions less, again and again, by our own method and by the usual one: a hundred runs of one, a hundred of the
other, a Mann-Whitney test at 5 %. --load keeps so many processors busy meanwhile.

    python benchmarks/false_verdicts.py --trials 40 --load 1 --max-seconds 10 --out false_verdicts.json
"""

from __future__ import annotations

import argparse
import json
import math
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from compressor.benchmarking import benchmark
from compressor.benchmarking.onnx_file import read_graph
from compressor.benchmarking.random_inputs import random_inputs
from compressor.runtime import open_session

WIDTH, SIDE = 32, 32
DEPTH, LESS = 11, 10  # the first convolution has three inputs and is quick: one of ten others is missing
RUNS, WARM_RUNS = 100, 5


def write_network(path: Path, depth: int = DEPTH) -> None:
    """A chain of 3x3 convolutions and ReLUs, about 1 ms a call."""
    generator = np.random.default_rng(0)
    nodes, weights, tensor, channels = [], [], "image", 3
    for layer in range(depth):
        values = 0.1 * generator.standard_normal((WIDTH, channels, 3, 3)).astype(np.float32)
        weights.append(numpy_helper.from_array(values, f"weight{layer}"))
        nodes.append(helper.make_node("Conv", [tensor, f"weight{layer}"], [f"conv{layer}"], pads=[1] * 4))
        nodes.append(helper.make_node("Relu", [f"conv{layer}"], [f"relu{layer}"]))
        tensor, channels = f"relu{layer}", WIDTH
    shape = ["batch", WIDTH, SIDE, SIDE]
    graph = helper.make_graph(
        nodes,
        "chain",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 3, SIDE, SIDE])],
        [helper.make_tensor_value_info(tensor, TensorProto.FLOAT, shape)],
        weights,
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), path)


def mann_whitney_p(first: Sequence[float], second: Sequence[float]) -> float:
    """Two-sided p value by the normal approximation; ties in nanoseconds are too rare to matter."""
    ranks = np.argsort(np.argsort([*first, *second])) + 1
    n, m = len(first), len(second)
    u = float(ranks[:n].sum()) - n * (n + 1) / 2
    z = (u - n * m / 2) / math.sqrt(n * m * (n + m + 1) / 12)
    return math.erfc(abs(z) / math.sqrt(2))


def usual_trial(pair: Sequence[Path]) -> dict[str, Any]:
    """All runs of one model, then all runs of the other."""
    sessions = [open_session(path, provider="cpu", threads=1) for path in pair]
    feed = random_inputs(read_graph(pair[0]).inputs, batch=1, seed=0)
    times: list[list[float]] = []
    for session in sessions:
        for _ in range(WARM_RUNS):
            session.run(None, feed)
        times.append([])
        for _ in range(RUNS):
            start = time.perf_counter_ns()
            session.run(None, feed)
            times[-1].append((time.perf_counter_ns() - start) / 1e6)
    ratio = float(np.median(times[1]) / np.median(times[0]))
    p = mann_whitney_p(times[0], times[1])
    said = "same" if p >= 0.05 else "faster" if ratio < 1 else "slower"
    return {"said": said, "ratio": ratio, "p": p, "p50_ms": float(np.median(times[0]))}


def our_trial(pair: Sequence[Path], seed: int, max_seconds: float) -> dict[str, Any]:
    """One run of `compressor.benchmark`."""
    found = benchmark(pair, seed=seed, max_seconds=max_seconds, details=False)
    (comparison,) = found.comparisons
    return {
        "said": comparison.verdict,
        "ratio": comparison.ratio,
        "ci95": comparison.ci95,
        "noise_floor": comparison.noise_floor,
        "control": found.controls[0].verdict,
        "pairs": comparison.pairs,
        "duration_s": found.duration_s,
        "busy": (found.environment.busy_before, found.environment.busy_during),
    }


def summary(name: str, trials: Sequence[dict[str, Any]], right: Sequence[str]) -> dict[str, Any]:
    """Counts of what was said, how often it was ``right``, or at least not wrong, and the ratios."""
    said = Counter(trial["said"] for trial in trials)
    wrong = said["faster"] + said["slower"] - sum(said[word] for word in right if word != "same")
    ratios = [trial["ratio"] for trial in trials]
    rest = ", ".join(f"{said[word]} {word}" for word in ("faster", "slower", "same", "inconclusive"))
    print(
        f"{name}: {wrong} false, {sum(said[word] for word in right)} right of {len(trials)} ({rest}); "
        f"ratios {min(ratios):.3f} to {max(ratios):.3f}, median {np.median(ratios):.3f}"
    )
    return {"false": wrong, "said": dict(said), "trials": list(trials)}


@contextmanager
def busy(processes: int) -> Iterator[None]:
    """So many processes multiply matrices meanwhile."""
    code = "import numpy as np; a = np.ones((500, 500), np.float32)\nwhile True: a @ a"
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    running = [subprocess.Popen([sys.executable, "-c", code], env=environment) for _ in range(processes)]
    try:
        yield
    finally:
        for process in running:
            process.kill()
            process.wait()


def main() -> None:
    """Run the trials, print the counts, write them to --out."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--trials", type=int, default=40)
    parser.add_argument("--load", type=int, default=0, help="processors to keep busy meanwhile")
    parser.add_argument("--max-seconds", type=float, default=60.0)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    trials: dict[str, list[dict[str, Any]]] = {"ours, copy": [], "usual, copy": [], "ours, less": [], "usual, less": []}
    with tempfile.TemporaryDirectory() as folder, busy(arguments.load):
        network, copy, less = (Path(folder) / f"{name}.onnx" for name in ("network", "copy", "less"))
        write_network(network)
        shutil.copyfile(network, copy)
        write_network(less, LESS)
        for seed in range(arguments.trials):
            for name, other in (("copy", copy), ("less", less)):
                trials[f"usual, {name}"].append(usual_trial([network, other]))
                trials[f"ours, {name}"].append(our_trial([network, other], seed, arguments.max_seconds))
            last = [f"{name}: {done[-1]['said']} {done[-1]['ratio']:.3f}" for name, done in trials.items()]
            print(f"trial {seed + 1}: {'; '.join(last)}; busy {trials['ours, copy'][-1]['busy']}", flush=True)
    result: dict[str, Any] = {"kind": "false verdicts", "cpus": os.cpu_count(), "load": arguments.load}
    for name, done in trials.items():
        result[name] = summary(name, done, ("same",) if name.endswith("copy") else ("faster",))
    if arguments.out:
        arguments.out.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
