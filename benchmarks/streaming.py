"""What do images cost that stay on the disk, because they are more than may be in memory?

Draws JPEG images of 32x32 pixels into a zip file, and goes through them in processes of their own, in memory and
streamed by several numbers of workers: peak memory beyond that of the imports, and samples a second of a training epoch
without a network (shuffled, shifted, mirrored, normalised) and with ResNet-20, as the share of those from memory. All
take turns, and see the same batches: their hashes are compared. With --data-limit the system gives a process so many
bytes beyond the imports (RLIMIT_DATA).

    python benchmarks/streaming.py --images 100000 --allowed 256
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import zipfile
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.nn import functional as F

from compressor.architectures.cifar_resnet import resnet20
from compressor.data import load_data
from compressor.data.feeds import Feed, feed_of
from compressor.data.normalization import Normalization
from compressor.errors import CompressorError
from compressor.limits import memory_limit

MIB = 2**20
BATCH, STEPS = 128, 30
CLASSES = 10


def draw(path: Path, count: int, seed: int = 0) -> None:
    """A zip file of so many images, each class another colour."""
    random = np.random.default_rng(seed)
    with zipfile.ZipFile(path, "w") as archive:
        for index in range(count):
            pixels = random.integers(0, 120, (32, 32, 3), dtype=np.uint8)
            pixels += np.uint8(13 * (index % CLASSES))
            stream = BytesIO()
            Image.fromarray(pixels).save(stream, "jpeg", quality=80)
            archive.writestr(f"{index % CLASSES}/{index}.jpg", stream.getvalue())


def measure(path: Path, allowed: int, workers: int, data_limit: int | None) -> dict[str, Any]:
    """Load the images and go through one epoch of them, in this process."""
    before = _peak()
    if data_limit is not None:
        held = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmData"))
        most = int(held.split()[1]) * 1024 + data_limit * MIB
        resource.setrlimit(resource.RLIMIT_DATA, (most, most))
    try:
        with memory_limit(allowed * MIB):
            began = time.perf_counter()
            data = load_data(f"folder:{path}", workers=workers)
            loading = time.perf_counter() - began
    except (MemoryError, CompressorError) as error:
        return {"error": str(error).splitlines()[0] if str(error) else type(error).__name__}
    feed, seen = feed_of(data, Normalization.parse("cifar10")), hashlib.sha256()
    shuffle, count = torch.Generator().manual_seed(0), 0
    began = time.perf_counter()
    for images, labels in feed.epoch(0, batch_size=BATCH, device=torch.device("cpu"), shuffle=shuffle):
        count += len(labels)
        if count % (10 * BATCH) == 0:
            seen.update(images.contiguous().numpy().tobytes())
    seconds = time.perf_counter() - began
    return {
        "streamed": data.streamed,
        "images": len(data.train) + len(data.val) + len(data.test),
        "loading": loading,
        "rate": count / seconds,
        "peak": _peak() - before,
        "trained": trained(feed) if data_limit is None else None,
        "seen": seen.hexdigest(),
    }


def trained(feed: Feed) -> float:
    """Samples a second of a training of ResNet-20, in its first steps."""
    model = resnet20().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    given = feed.epoch(0, batch_size=BATCH, device=torch.device("cpu"), shuffle=torch.Generator().manual_seed(0))
    for step, (images, labels) in enumerate(given):
        if step == 2:
            began = time.perf_counter()
        if step == 2 + STEPS:
            break
        optimizer.zero_grad()
        F.cross_entropy(model(images), labels).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return STEPS * BATCH / (time.perf_counter() - began)


def _peak() -> float:
    """MiB that this process had resident at most."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def run(path: Path, allowed: int, workers: int, data_limit: int | None = None) -> dict[str, Any]:
    """`measure` in a process of its own."""
    limit = [] if data_limit is None else ["--data-limit", str(data_limit)]
    command = [sys.executable, __file__, "--measure", str(path), "--allowed", str(allowed), "--workers", str(workers)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "2"}
    done = subprocess.run([*command, *limit], capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        return {"error": done.stderr.strip().splitlines()[-1] if done.stderr else f"signal {-done.returncode}"}
    return json.loads(done.stdout)  # type: ignore[no-any-return]


def compare(path: Path, allowed: int, workers: list[int], rounds: int) -> None:
    """Print memory and speed of every way, in turns."""
    ways = [("in memory", 2**20, 0), *((f"streamed, {count} workers", allowed, count) for count in workers)]
    found: dict[str, list[dict[str, Any]]] = {name: [] for name, *_ in ways}
    for _ in range(rounds):
        for name, most, count in ways:
            found[name].append(run(path, most, count))
            print(name, found[name][-1], file=sys.stderr, flush=True)
    assert len({one["seen"] for runs in found.values() for one in runs}) == 1, "not the same batches"
    base = found["in memory"]
    print("| images | peak memory | loading | samples a second | with ResNet-20 |\n|---|---|---|---|---|")
    for name, runs in found.items():
        peak = statistics.median(one["peak"] for one in runs)
        shares = " | ".join(_ratio(runs, base, key) for key in ("loading", "rate", "trained"))
        print(f"| {name} | {peak:.0f} MiB | {shares} |")


def _ratio(runs: list[dict[str, Any]], base: list[dict[str, Any]], key: str) -> str:
    ratios = [one[key] / other[key] for one, other in zip(runs, base, strict=True)]
    return f"{statistics.median(ratios):.2f} [{min(ratios):.2f}, {max(ratios):.2f}]"


def main() -> None:
    """Draw, compare, and show what a process may have that holds no more."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=100_000)
    parser.add_argument("--allowed", type=int, default=256, help="MiB that --max-memory would allow")
    parser.add_argument("--workers", type=int, nargs="*", default=[0, 1, 2])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--data-limit", type=int, help="MiB beyond the imports that the system gives a process")
    parser.add_argument("--measure", type=Path, metavar="ZIP", help="one measurement, as JSON")
    args = parser.parse_args()
    if args.measure is not None:
        print(json.dumps(measure(args.measure, args.allowed, args.workers[0], args.data_limit)))
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "images.zip")
        draw(path, args.images)
        compare(path, args.allowed, args.workers, args.rounds)
        if args.data_limit is not None:
            print(f"\nwith {args.data_limit} MiB beyond the imports:")
            print("in memory:", run(path, 2**20, 0, args.data_limit))
            print("streamed:", run(path, args.allowed, 0, args.data_limit))


if __name__ == "__main__":
    main()
