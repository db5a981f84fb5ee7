"""A sweep that is killed and resumed, and the same sweep by two processes: the same networks, and the table.

    python benchmarks/sweeps.py OUT -- digits_resnet --targets 0.75,0.5,0.33,0.25

What follows ``--`` goes to ``compress sweep``. The first process is killed (SIGKILL) in the midst of the second point's
training, and the same command is given again; in OUT/two two processes do the same sweep. Says how long each took, and
whether all checkpoints and ONNX files are the same to the bit, which takes equally many threads: one, unless
OMP_NUM_THREADS says otherwise.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

TRAINING = "Recovering"


def command(arguments: list[str], out: Path, *more: str) -> list[str]:
    """A sweep into ``out``."""
    return [sys.executable, "-m", "compressor", "sweep", *arguments, "--out", str(out), *more]


def kill_in_second_point(arguments: list[str], out: Path) -> None:
    """Start the sweep and kill it once the second network recovers."""
    process = subprocess.Popen(command(arguments, out), stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    assert process.stderr is not None
    seen = 0
    for line in process.stderr:
        seen += TRAINING in line
        if seen == 2:
            time.sleep(3)
            process.send_signal(signal.SIGKILL)
            break
    process.wait()
    done = sorted(path.parent.name for path in out.glob("points/*/report.json"))
    print(f"killed; finished so far: {', '.join(done)}", flush=True)


def timed(arguments: list[str], out: Path, *more: str) -> str:
    """Do the sweep; its table."""
    began = time.monotonic()
    done = subprocess.run(command(arguments, out, *more), capture_output=True, text=True)
    print(f"{out.name}: exit code {done.returncode} after {time.monotonic() - began:.0f} s", flush=True)
    print("\n".join(line for line in done.stderr.splitlines() if line.startswith(("--target", "Wa", "Error"))))
    return done.stdout


def networks(out: Path) -> dict[str, str]:
    """Hashes of all checkpoints and ONNX files."""
    found = sorted([*out.rglob("*.pt"), *out.rglob("*.onnx")])
    return {str(path.relative_to(out)): hashlib.sha256(path.read_bytes()).hexdigest() for path in found}


def main() -> None:
    """Do the sweep in both ways and compare."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("arguments", nargs="+")
    args = parser.parse_args()
    one, two = args.out / "killed", args.out / "two"
    kill_in_second_point(args.arguments, one)
    print(timed(args.arguments, one))
    print(timed(args.arguments, two, "--workers", "2"))
    same = networks(one) == networks(two)
    print(f"{len(networks(one))} checkpoints and ONNX files: {'the same to the bit' if same else 'NOT THE SAME'}")
    report = json.loads((one / "sweep.json").read_text())
    print(f"dominated: {[row['name'] for row in report['networks'] if row['dominated_by']] or 'none'}")


if __name__ == "__main__":
    main()
