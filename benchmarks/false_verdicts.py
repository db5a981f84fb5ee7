"""How often does a benchmark see a difference where there is none?

Compares a small convolutional network with a byte-identical copy of itself, again and again, by our own
method and by the usual one: a hundred runs of one, a hundred of the other, a Mann-Whitney test at 5 %.

    python benchmarks/false_verdicts.py --trials 40 --out false_verdicts.json
"""

from __future__ import annotations

import argparse
import json
import math
import os
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from compressor.benchmarking import benchmark
from compressor.benchmarking.onnx_file import read_graph
from compressor.benchmarking.worker import random_inputs
from compressor.runtime import open_session

WIDTH, DEPTH, SIDE = 32, 6, 32
RUNS, WARM_RUNS = 100, 5


def write_network(path: Path) -> None:
    """A chain of 3x3 convolutions and ReLUs, about 1 ms a call."""
    generator = np.random.default_rng(0)
    nodes, weights, tensor, channels = [], [], "image", 3
    for layer in range(DEPTH):
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


def our_trial(pair: Sequence[Path], seed: int) -> dict[str, Any]:
    """One run of `compressor.benchmark` with its defaults."""
    found = benchmark(pair, seed=seed)
    (comparison,) = found.comparisons
    return {
        "said": comparison.verdict,
        "ratio": comparison.ratio,
        "ci95": comparison.ci95,
        "noise_floor": comparison.noise_floor,
        "control": found.controls[0].verdict,
        "pairs": comparison.pairs,
        "duration_s": found.duration_s,
        "load": found.environment.load_before,
    }


def summary(name: str, trials: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Counts of what was said, and the ratio farthest from 1."""
    said = Counter(trial["said"] for trial in trials)
    wrong = said["faster"] + said["slower"]
    worst = max((trial["ratio"] for trial in trials), key=lambda ratio: abs(math.log(ratio)))
    rest = ", ".join(f"{said[word]} {word}" for word in ("faster", "slower", "same", "inconclusive"))
    print(f"{name}: {wrong} false of {len(trials)} ({rest}); worst ratio {worst:.3f}")
    return {"false": wrong, "said": dict(said), "worst_ratio": worst, "trials": list(trials)}


def main() -> None:
    """Run the trials, print the counts, write them to --out."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--trials", type=int, default=40)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    ours, usual = [], []
    with tempfile.TemporaryDirectory() as folder:
        pair = [Path(folder) / "network.onnx", Path(folder) / "copy.onnx"]
        write_network(pair[0])
        shutil.copyfile(*pair)
        for trial in range(arguments.trials):
            usual.append(usual_trial(pair))
            ours.append(our_trial(pair, seed=trial))
            print(
                f"trial {trial + 1}: ours {ours[-1]['said']} {ours[-1]['ratio']:.4f}, "
                f"usual {usual[-1]['said']} {usual[-1]['ratio']:.4f}",
                flush=True,
            )
    result = {
        "kind": "false verdicts",
        "cpus": os.cpu_count(),
        "ours": summary("ours", ours),
        "usual": summary("usual method", usual),
    }
    if arguments.out:
        arguments.out.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
