"""How quick are samples of tar files read in any order, beside the library webdataset, which reads them as they stand?

Draws JPEG images into shards and takes turns: all headers gone through once, as every command does when it begins; all
images read in a random order, not decoded; all images read by the library, with a buffer of 1,000 samples that is
shuffled, not decoded; and all images decoded, what a batch needs beside. Prints medians of the ratios over rounds.

    pip install --no-deps webdataset braceexpand
    python benchmarks/shards.py --images 20000
"""

from __future__ import annotations

import argparse
import io
import statistics
import tarfile
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import webdataset
from PIL import Image

from compressor.data.image_files import decode
from compressor.data.shards import find

SHARD = 2000


def draw(folder: Path, count: int) -> None:
    """Shards with so many images of 32x32 pixels."""
    random = np.random.default_rng(0)
    for first in range(0, count, SHARD):
        with tarfile.open(folder / f"all-{first // SHARD:03d}.tar", "w") as archive:
            for index in range(first, first + SHARD):
                stream = io.BytesIO()
                Image.fromarray(random.integers(0, 255, (32, 32, 3), dtype=np.uint8)).save(stream, "jpeg")
                for suffix, content in (("jpg", stream.getvalue()), ("cls", str(index % 10).encode())):
                    entry = tarfile.TarInfo(f"{index:08d}.{suffix}")
                    entry.size = len(content)
                    archive.addfile(entry, io.BytesIO(content))


def seconds(work: Callable[[], object]) -> float:
    """How long it takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def main() -> None:
    """Draw, measure in turns, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        draw(Path(name), args.images)
        shards = sorted(Path(name).glob("*.tar"))
        files = find(shards).files
        order = torch.randperm(args.images).tolist()

        def library() -> None:
            given = webdataset.WebDataset([str(shard) for shard in shards], shardshuffle=100, seed=0)
            assert sum(1 for _ in given.shuffle(1000)) == args.images

        ways: dict[str, Callable[[], object]] = {
            "read by the library": library,
            "read in any order": lambda: [files.read(number) for number in order],
            "headers gone through": lambda: find(shards),
            "decoded": lambda: decode(files, order, (3, 32, 32)),
        }
        rounds = [{way: seconds(work) for way, work in ways.items()} for _ in range(args.rounds)]
    for way in ways:
        ratios = [one[way] / one["read by the library"] for one in rounds]
        print(f"{way}: {statistics.median(ratios):.2f} [{min(ratios):.2f}, {max(ratios):.2f}]")


if __name__ == "__main__":
    main()
