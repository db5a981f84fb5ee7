"""Which real networks can be shrunk, how much of them, how long finding that out takes, and is the result right?

Every network gets random weights and lively statistics; of every group that can be removed another share of channels
is zeroed and removed. Outputs are compared in float64 and float32, after saving and loading, and in ONNX Runtime.
Each network runs in a process of its own, which is ended after --timeout seconds; what it had found stays. With
--keep a network that has been examined is not examined again, so that a sweep goes on where it was stopped.

    python benchmarks/architectures.py --keep sweep --out architectures.json
    python benchmarks/architectures.py torchvision:resnet18 timm:resnet50@64 transformers:bert --no-onnx
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
from foreign_networks import NETWORKS

from compressor.errors import first_line

ONE = Path(__file__).with_name("one_architecture.py")
# Of a reason, in characters.
WIDEST = 160
# With @SIDE of the images where the network's own size would only take longer.
TORCHVISION = (
    "alexnet", "vgg11_bn@64", "vgg16@64", "resnet18", "resnet34@64", "resnet50", "resnet101@64", "resnet152@64",
    "resnext50_32x4d@64", "wide_resnet50_2@64", "densenet121@64", "googlenet@96", "inception_v3@128",
    "mobilenet_v2@64", "mobilenet_v3_small@64", "mobilenet_v3_large@64", "mnasnet1_0@64", "efficientnet_b0@64",
    "efficientnet_v2_s@64", "regnet_x_400mf@64", "regnet_y_400mf@64", "shufflenet_v2_x1_0@64", "squeezenet1_1@64",
    "convnext_tiny@64", "vit_b_16", "swin_t", "swin_v2_t", "maxvit_t", "fcn_resnet50@64",
    "deeplabv3_mobilenet_v3_large@64", "lraspp_mobilenet_v3_large@64",
)  # fmt: skip
TIMM = (
    "resnet50@64", "resnet50d@64", "seresnet50@64", "ecaresnet50d@64", "res2net50_26w_4s@64", "skresnet18@64",
    "resnest14d@64", "dla34@64", "hrnet_w18_small@64", "darknet53@64", "cspresnet50@64", "cspdarknet53@64",
    "dpn68@64", "selecsls42b@64", "vovnet39a@64", "ese_vovnet19b_dw@64", "xception41@96", "inception_v4@128",
    "mobilenetv3_large_100@64", "mobilenetv4_conv_small@64", "efficientnet_b0@64", "mixnet_s@64", "rexnet_100@64",
    "ghostnet_100@64", "ghostnetv2_100@64", "tinynet_a@64", "fbnetc_100@64", "hardcorenas_a@64", "lcnet_050@64",
    "repvgg_a0@64", "regnety_004@64", "gernet_s@64", "nf_resnet50@64", "nfnet_f0@96", "repghostnet_050@64",
    "fastvit_t8@64", "mobileone_s0@64", "convnext_atto@64", "convnextv2_atto@64", "convmixer_768_32@64",
    "poolformer_s12@64", "inception_next_tiny@64", "efficientformer_l1", "edgenext_xx_small@64", "mixer_s16_224",
    "gmixer_24_224", "resmlp_12_224", "vit_tiny_patch16_224", "deit_tiny_patch16_224", "beit_base_patch16_224",
    "eva02_tiny_patch14_224", "cait_xxs24_224", "xcit_nano_12_p16_224", "crossvit_tiny_240", "convit_tiny",
    "pit_ti_224", "levit_128s", "coat_lite_tiny", "pvt_v2_b0", "twins_pcpvt_small", "swin_tiny_patch4_window7_224",
    "swinv2_tiny_window8_256", "maxvit_tiny_tf_224", "coatnet_0_rw_224",
)  # fmt: skip


def main() -> None:
    """Examine every network in its own process, print the table, write --out."""
    arguments = _arguments()
    found = []
    for network in arguments.networks or every():
        found.append(examined(network, arguments))
        print(_line(found[-1]), file=sys.stderr, flush=True)
        if arguments.out:
            arguments.out.write_text(
                json.dumps({**environment("architectures", arguments.timeout), "networks": found}, indent=2) + "\n"
            )
    print(table(found), end="")


def every() -> list[str]:
    """One network of every family, of all libraries that are installed."""
    foreign = {library: [] for library in ("transformers", "ultralytics", "smp", "torchvision", "diffusers")}
    for ref in NETWORKS:
        foreign[ref.partition(":")[0]].append(ref.partition(":")[2])
    names = [("torchvision", TORCHVISION), ("timm", TIMM), *foreign.items()]
    return [ref for library, of_it in names for ref in there(library, of_it)]


def examined(network: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """The report of one network, which is kept in --keep."""
    kept = arguments.keep / f"{network.replace(':', '_').replace('@', '_')}.json" if arguments.keep else None
    if kept is not None and kept.exists():
        return json.loads(kept.read_text())
    ref, _, side = network.partition("@") if not Path(network.partition(":")[0]).exists() else (network, "", "")
    side = side or arguments.side
    options = [*(["--side", str(side)] if side else []), *(["--no-onnx"] if arguments.no_onnx else [])]
    report = {"network": network, **in_a_process([str(ONE), *options, ref], arguments.timeout)}
    if kept is not None:
        kept.parent.mkdir(parents=True, exist_ok=True)
        draft = kept.with_suffix(".part")
        draft.write_text(json.dumps(report))
        draft.replace(kept)
    return report


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("networks", nargs="*", help="LIBRARY:NAME, with @SIDE of the images; every family by default")
    parser.add_argument("--side", type=int, help="height and width of the images; each network's own by default")
    parser.add_argument("--timeout", type=float, default=600.0, help="seconds for one network (default 600)")
    parser.add_argument("--no-onnx", action="store_true", help="leave out the slowest part")
    parser.add_argument("--keep", type=Path, help="a folder with one report a network; those in it are not made again")
    parser.add_argument("--out", type=Path, help="JSON file, written after every network")
    return parser.parse_args()


def there(library: str, names: Sequence[str]) -> list[str]:
    """References to a library's networks; none when it is not installed."""
    try:
        __import__({"smp": "segmentation_models_pytorch"}.get(library, library))
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
        "network", "inputs", "layers", "groups", "excluded", "MACs prunable", "least MACs", "processor s", "MACs left",
        "float64", "float32", "reloaded", "ONNX", "what stays, or why it is refused",
    )  # fmt: skip
    rows = [heads, ("---",) * len(heads), *(_cells(network) for network in found)]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in rows)


def _cells(network: dict[str, Any]) -> tuple[str, ...]:
    def figure(name: str, how: str) -> str:
        return "-" if network.get(name) is None else format(network[name], how)

    left = f"{network['macs_left'] / network['macs']:.1%}" if "macs_left" in network else "-"
    return (
        network["network"],
        ", ".join("x".join(map(str, shape)) or "1" for shape in network.get("inputs", ())),
        figure("layers", "d"),
        figure("groups", "d"),
        str(sum(network["excluded"].values())) if "excluded" in network else "-",
        figure("prunable_macs", ".1%"),
        figure("least_macs", ".1%"),
        figure("group_cpu_s", ".1f"),
        left,
        *(figure(name, ".1e") for name in ("float64", "float32", "reloaded", "onnx")),
        _why(network).replace("|", "/"),
    )


def _why(network: dict[str, Any]) -> str:
    """One line: the failure, or why most of what is excluded stays."""
    reason = network.get("failure") or next(iter(network.get("excluded", ())), "")
    return reason if len(reason) <= WIDEST else f"{reason[:WIDEST]}…"


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
