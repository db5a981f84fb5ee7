"""The files that cases are made of: a network of 1,500 parameters, its data in every form, a finished run."""

from __future__ import annotations

import argparse
import gzip
import io
import json
import os
import shutil
import struct
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from click.testing import CliRunner

from fuzz import server

FACTORY = '''
from torch import nn


def build(width=8, classes=4):
    """Two convolutions for grey images of 8x8 pixels."""
    network = nn.Sequential(
        nn.Conv2d(1, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU(),
        nn.Conv2d(width, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU(),
        nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(4 * width, classes),
    )
    network.input_shape = (1, 8, 8)
    return network
'''
# Whoever imports it has run foreign code.
PAYLOAD = """
import os

open(os.environ["FUZZ_CANARY"], "w").close()


def build(**arguments):
    from torch import nn

    return nn.Linear(1, 1)
"""
QUICK = ("--lr", "0.1", "--batch-size", "32", "--seed", "1", "--quiet")
RUN = ("run", "dense.pt", "--arch", "net.py:build", "--epochs", "2", "--max-seconds", "0.1", *QUICK, "--out", "r")
# A training of which states are kept.
TRAINING = (
    *("fine-tune", "--arch", "net.py:build", "--data", "npz:q.npz", "--normalize", "none"),
    *("--epochs", "4", "--target-macs", "0.5", "--align", "auto:8"),
    *QUICK,
    *("--out", "states/o.pt"),
)
STATES = "states/*.training-*/epoch-*.state"
# What the first line of every campaign's case folder holds beside the file that is mutated.
SHARED = ("net.py", "q.npz")


def build(folder: Path) -> None:
    """Make every base in ``folder``, and list the modules that this has imported."""
    # What a build that failed left behind would be in the way.
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    os.chdir(folder)
    _data()
    Path("net.py").write_text(FACTORY)
    training = _interrupted_training()
    common = ("--arch", "net.py:build", "--data", "npz:q.npz", "--normalize", "0.4/0.25")
    _compress("fine-tune", *common, "--epochs", "4", *QUICK, "--out", "dense.pt")
    _compress(*RUN)
    _checkpoints()
    _reports()
    os.waitpid(training, 0)
    for hidden in Path("states").rglob(".*"):
        hidden.unlink()  # their names hold the process
    # A server that has them imported forks children that are ready.
    names = [name for name in sys.modules if not name.startswith(("_pytest", "tests", "__main"))]
    Path("modules.json").write_text(json.dumps(names))


def _compress(*arguments: str) -> None:
    from compressor.cli import compress

    result = CliRunner(env={"COLUMNS": "120", "NO_COLOR": "1"}).invoke(compress, arguments, catch_exceptions=False)
    if result.exit_code:
        raise RuntimeError(f"compress {' '.join(arguments)}: {result.stderr}")


def _data() -> None:
    random = np.random.default_rng(0)
    labels = np.arange(160) % 4
    images = random.integers(0, 120, (160, 1, 8, 8), dtype=np.uint8)
    for image, label in zip(images[:, 0], labels, strict=True):
        row, column = divmod(int(label), 2)
        image[4 * row : 4 * row + 4, 4 * column : 4 * column + 4] += 80
    np.savez("q.npz", x=images, y=labels)
    np.savez_compressed("named.npz", x=images[:48], y=labels[:48], classes=np.array(["a", "b", "c", "d"]))
    Path("names.txt").write_text("north west\nnorth east\nsouth west\nsouth east\n")
    _mnist(random)
    _photos(images[:16, 0], labels[:16])


def _mnist(random: np.random.Generator) -> None:
    Path("mnist").mkdir(exist_ok=True)
    for part, count in (("train", 24), ("t10k", 12)):
        values = random.integers(0, 255, (count, 28, 28), dtype=np.uint8).tobytes()
        labels = bytes(number % 4 for number in range(count))
        images = struct.pack(">4B3I", 0, 0, 8, 3, count, 28, 28) + values
        Path(f"mnist/{part}-images-idx3-ubyte.gz").write_bytes(gzip.compress(images, mtime=0))
        Path(f"mnist/{part}-labels-idx1-ubyte").write_bytes(struct.pack(">4BI", 0, 0, 8, 1, count) + labels)


def _photos(images: np.ndarray, labels: np.ndarray) -> None:
    from PIL import Image

    with zipfile.ZipFile("photos.zip", "w") as archive:
        for number, (image, label) in enumerate(zip(images, labels, strict=True)):
            name = f"class{label}/{number}.{('png', 'jpg', 'bmp', 'webp')[number % 4] if number > 3 else 'png'}"
            path, buffer = Path("photos") / name, io.BytesIO()
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(path)
            Image.fromarray(image).save(buffer, "png")
            archive.writestr(zipfile.ZipInfo(f"class{label}/{number}.png"), buffer.getvalue())


def _checkpoints() -> None:
    import torch

    import compressor
    from compressor.checkpoints import embedded

    stored = torch.load("r/sparse.pt", weights_only=True)
    network = compressor.load("r/sparse.pt", arch="net.py:build")
    compressor.save(network, "sparse.safetensors", overwrite=True)
    state: dict[str, Any] = stored["state"]
    torch.save(state, "bare.pt")
    torch.save(state, "legacy.pt", _use_new_zipfile_serialization=False)
    prefixed = {f"model.{key}": value for key, value in state.items()}
    lightning = {"state_dict": prefixed, "epoch": 3, "hyper_parameters": {"lr": 0.1}, "callbacks": {}}
    torch.save(lightning | {"optimizer_states": [{"state": {}, "param_groups": [{"lr": 0.1}]}]}, "lightning.pt")
    torch.save({"model": state, "args": argparse.Namespace(lr=0.1, name="net"), "epoch": 3}, "trainer.pt")
    torch.save({"net": {f"module.{key}": value for key, value in state.items()}, "acc": 0.5}, "net.pt")
    Path("curves.pt").write_bytes(embedded()["curves_cnn"].read_bytes())
    image = torch.rand(2, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    np.savez("example.npz", input=image.numpy())
    torch.save({"input": image}, "example.pt")
    for ending in ("pt", "safetensors"):
        compressor.save(
            network.model, f"fed.{ending}", arch="net.py:build", example={"input": image}, outputs=(), overwrite=True
        )


def _reports() -> None:
    report = json.loads(Path("r/report.json").read_text())
    Path("run.json").write_text(json.dumps(report))
    Path("benchmark.json").write_text(json.dumps(report["benchmark"]))


def _interrupted_training() -> int:
    """The id of a child whose training dies as it puts its third state in place, so that two are there.

    It is forked before this process has worked, because threads do not outlive a fork.
    """
    Path("states").mkdir()
    placed: list[str] = []

    def die(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "os.rename" and str(arguments[1]).endswith(".state"):
            placed.append(arguments[1])
            if len(placed) == 3:
                os._exit(1)

    def work() -> None:
        sys.addaudithook(die)
        server.compress(TRAINING)()

    return server.fork(work, Path.cwd(), Path.cwd() / "training", {})


if __name__ == "__main__":
    build(Path(sys.argv[1]))
