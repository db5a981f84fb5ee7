"""Which real networks can be shrunk, how much of them, how long finding that out takes, and is the result right?

Every network gets random weights and lively statistics; a random half of the channels of every group that can be
removed is zeroed and removed. Outputs are compared in float64 and float32, after saving and loading, and in ONNX.
Each network runs in a process of its own, which is ended after --timeout seconds; what it had found stays.

    python benchmarks/architectures.py --out architectures.json
    python benchmarks/architectures.py torchvision:resnet18 timm:resnet50 --side 64 --no-onnx
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from compressor.errors import first_line

ONE = Path(__file__).with_name("one_architecture.py")
TORCHVISION = (
    "alexnet", "vgg11_bn", "vgg16", "resnet18", "resnet34", "resnet50", "resnet101", "resnet152",
    "resnext50_32x4d", "wide_resnet50_2", "densenet121", "googlenet", "inception_v3", "mobilenet_v2",
    "mobilenet_v3_small", "mobilenet_v3_large", "mnasnet1_0", "efficientnet_b0", "efficientnet_v2_s",
    "regnet_x_400mf", "regnet_y_400mf", "shufflenet_v2_x1_0", "squeezenet1_1", "convnext_tiny", "vit_b_16",
    "swin_t", "swin_v2_t", "maxvit_t", "fcn_resnet50", "deeplabv3_mobilenet_v3_large", "lraspp_mobilenet_v3_large",
    "fasterrcnn_mobilenet_v3_large_320_fpn", "retinanet_resnet50_fpn", "ssdlite320_mobilenet_v3_large",
)  # fmt: skip
TIMM = (
    "resnet50", "resnet50d", "seresnet50", "res2net50_26w_4s", "dla34", "hrnet_w18_small", "darknet53",
    "cspresnet50", "mobilenetv3_large_100", "efficientnet_b0", "ghostnet_100", "repvgg_a0", "regnety_004",
    "nfnet_f0", "convnext_tiny", "mixer_b16_224", "vit_small_patch16_224", "deit_tiny_patch16_224",
    "swin_tiny_patch4_window7_224", "maxvit_tiny_tf_224",
)  # fmt: skip


def main() -> None:
    """Examine every network in its own process, print the table, write --out."""
    arguments = _arguments()
    options = ["--side", str(arguments.side)] if arguments.side else []
    options += ["--no-onnx"] if arguments.no_onnx else []
    found = []
    for ref in arguments.networks or [*there("torchvision", TORCHVISION), *there("timm", TIMM)]:
        found.append({"network": ref, **in_a_process([str(ONE), *options, ref], arguments.timeout)})
        print(_line(found[-1]), file=sys.stderr, flush=True)
        if arguments.out:
            arguments.out.write_text(
                json.dumps({**environment("architectures", arguments.timeout), "networks": found}, indent=2) + "\n"
            )
    print(table(found), end="")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("networks", nargs="*", help="torchvision:NAME or timm:NAME; one of every family by default")
    parser.add_argument("--side", type=int, help="height and width of the images; each network's own by default")
    parser.add_argument("--timeout", type=float, default=600.0, help="seconds for one network (default 600)")
    parser.add_argument("--no-onnx", action="store_true", help="leave out the slowest part")
    parser.add_argument("--out", type=Path, help="JSON file, written after every network")
    return parser.parse_args()


def there(library: str, names: Sequence[str]) -> list[str]:
    """References to a library's networks; none when it is not installed."""
    try:
        __import__(library)
    except (ImportError, RuntimeError) as error:
        print(f"{library} is left out: {first_line(error)}", file=sys.stderr)
        return []
    return [f"{library}:{name}" for name in names]


def in_a_process(
    command: Sequence[str], timeout: float, environment: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """What a script writes to the file that is its last argument; ``failure`` says why when it ends too early.

    ``environment`` is beside that of this process.
    """
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        end: dict[str, Any] = {}
        try:
            done = subprocess.run(
                [sys.executable, *command, str(report)],
                env={**os.environ, **(environment or {})},
                capture_output=True,
                text=True,
                timeout=timeout,
                check=False,
            )
            if done.returncode:
                end = {"failure": (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]}
        except subprocess.TimeoutExpired:
            end = {"failure": f"not done after {timeout:g} s"}
        known = json.loads(report.read_text()) if report.exists() else {}
        return {**known, **end}


def table(found: Sequence[dict[str, Any]]) -> str:
    """The report as Markdown."""
    heads = (
        "network", "input", "layers", "groups", "excluded", "MACs prunable", "group + probe s", "processor s",
        "MACs left",
        "float64", "float32", "reloaded", "ONNX", "failure",
    )  # fmt: skip
    rows = [heads, ("---",) * len(heads), *(_cells(network) for network in found)]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in rows)


def _cells(network: dict[str, Any]) -> tuple[str, ...]:
    def figure(name: str, how: str) -> str:
        return "-" if network.get(name) is None else format(network[name], how)

    left = f"{network['macs_left'] / network['macs']:.1%}" if "macs_left" in network else "-"
    return (
        network["network"],
        "x".join(map(str, network.get("input_shape", ()))),
        figure("layers", "d"),
        figure("groups", "d"),
        str(sum(network["excluded"].values())) if "excluded" in network else "-",
        figure("prunable_macs", ".1%"),
        figure("group_s", ".1f"),
        figure("group_cpu_s", ".1f"),
        left,
        *(figure(name, ".1e") for name in ("float64", "float32", "reloaded", "onnx")),
        network.get("failure", "").replace("|", "/"),
    )


def _line(network: dict[str, Any]) -> str:
    return "  ".join(cell for cell in _cells(network) if cell)


def environment(kind: str, timeout: float) -> dict[str, Any]:
    """What a report of this kind says about how it was made."""
    return {
        "kind": kind,
        "cpus": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "torch": str(torch.__version__),
        "python": platform.python_version(),
        "timeout_s": timeout,
    }


if __name__ == "__main__":
    main()
