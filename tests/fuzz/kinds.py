"""Which files are mutated, and by which commands each is read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from fuzz import values
from fuzz.bases import RUN, STATES, TRAINING
from fuzz.formats import Format
from fuzz.formats.arrays import Idx, Npz
from fuzz.formats.documents import Document
from fuzz.formats.images import Png
from fuzz.formats.onnx_files import Model
from fuzz.formats.states import TrainingState
from fuzz.formats.tensor_files import TensorFile
from fuzz.formats.torch_files import Pickled
from fuzz.formats.zips import Archive

FORMATS: dict[str, Format] = {
    "json": Document(),
    "torch": Pickled(),
    "safetensors": TensorFile(),
    "zip": Archive(),
    "npz": Npz(),
    "idx": Idx(),
    "png": Png(),
    "onnx": Model(),
    "state": TrainingState(),
}
TRAINED = (
    *("lr", "batch-size", "epochs", "seed", "strength", "target-macs", "target-params", "target-zeros", "penalty"),
    *("penalty-arg", "beta", "growth", "layers", "align", "optimizer", "precision", "val-fraction", "split-seed"),
    *(
        "max-train",
        "data-workers",
        "augment",
        "normalize",
        "input-shape",
        "arch-arg",
        "method",
        "group-penalty",
        "teacher",
        "data",
        "classes",
    ),
)
VALUES = (
    *("0", "-1", "1e300", "-1e300", "1e-320", "nan", "inf", "-inf", "0.5", "2147483648", "9223372036854775808"),
    *(
        "18446744073709551616",
        "9" * 5000,
        "1x" * 2500 + "1",
        "1x8x" + "9" * 4400,
        "1x28x100000",
        "0x0x0",
        "1:2",
        "inf:nan",
    ),
    *(
        "1e400:1",
        "a=b",
        "width=1000000000",
        "width=9" * 300,
        "=",
        "*",
        "[",
        "(" * 1000,
        "0/0",
        "1e-300/1e-300",
        "nan/1",
    ),
)
ARCH = "--arch net.py:build"
DATA = "--data npz:q.npz"
TINY = "--lr 0.1 --batch-size 32 --max-train 64"


@dataclass(frozen=True, kw_only=True)
class Kind:
    """Files of one kind: which formats they have, what lies beside them, and the commands, some more often.

    ``files`` are patterns. In a command FILE is the mutated file, and VALUE one of ``values``. ``folder`` is copied
    whole; then its files are mutated, and it itself too. ``around`` is in every case's folder.
    """

    files: Mapping[str, tuple[str, ...]]
    commands: tuple[str, ...]
    share: int
    folder: str | None = None
    beside: tuple[str, ...] = ()
    around: tuple[list[str], ...] = ()
    values: tuple[str, ...] = ()


INSPECT = (f"inspect FILE {ARCH}", f"inspect FILE {ARCH} --json", "inspect FILE", f"inspect FILE {ARCH} -q")
EVALUATE = (f"evaluate FILE {ARCH} {DATA} --normalize 0.4/0.25", "evaluate FILE", f"evaluate FILE {ARCH} {DATA} --json")
CHECKPOINT = (
    *(2 * INSPECT),
    *(2 * EVALUATE),
    *(3 * (f"shrink FILE {ARCH} {DATA} --out o.pt",)),
    f"shrink FILE {ARCH} --out o.safetensors",
    "shrink FILE --out o.pt",
    f"recover FILE {ARCH} {DATA} {TINY} --epochs 1 --out o.pt",
    f"fine-tune FILE {ARCH} {DATA} {TINY} --epochs 1 --out o.pt",
    f"fine-tune {ARCH} {DATA} {TINY} --epochs 1 --normalize none --teacher FILE --out o.pt",
    f"export FILE {ARCH} --out o.onnx",
)
KINDS = {
    "checkpoint": Kind(
        files={"r/sparse.pt": ("torch", "torch", "zip"), "r/shrunk.pt": ("torch", "torch", "zip")},
        commands=CHECKPOINT,
        share=20,
    ),
    "built-in checkpoint": Kind(
        files={"curves.pt": ("torch", "torch", "torch", "zip")},
        commands=(*(3 * ("inspect FILE", "shrink FILE --out o.pt", "inspect FILE --json")), "export FILE --out o.onnx"),
        share=8,
    ),
    "safetensors": Kind(files={"sparse.safetensors": ("safetensors",)}, commands=CHECKPOINT, share=12),
    "foreign checkpoint": Kind(
        files={
            "bare.pt": ("torch", "zip"),
            "legacy.pt": ("torch",),
            "lightning.pt": ("torch",),
            "net.pt": ("torch",),
            "trainer.pt": ("zip",),
        },
        commands=(*INSPECT[:2], *EVALUATE[:1], f"inspect FILE {ARCH} --input-shape 1x8x8", "inspect FILE"),
        share=10,
    ),
    "onnx": Kind(
        files={"r/dense.onnx": ("onnx",), "r/small.onnx": ("onnx",)},
        commands=(
            *(12 * (f"evaluate FILE {DATA}", "evaluate FILE")),
            "benchmark FILE --max-seconds 0.02 --out b.json",
            "benchmark r/dense.onnx FILE --max-seconds 0.02 --json",
        ),
        share=16,
        beside=("r/dense.onnx",),
        around=(["file", "r/weights.bin", 64 * "00"], ["link", "r/link", "{outside}/secret.npz"], ["fifo", "r/fifo"]),
    ),
    "npz": Kind(
        files={"q.npz": ("npz", "npz", "zip"), "named.npz": ("npz", "npz", "zip")},
        commands=(
            *(6 * (f"evaluate r/sparse.pt {ARCH} --data npz:FILE",)),
            "evaluate r/dense.onnx --data npz:FILE --json",
            f"fine-tune {ARCH} --data npz:FILE {TINY} --epochs 1 --out o.pt",
        ),
        share=10,
        beside=("r/sparse.pt", "r/dense.onnx"),
    ),
    "example": Kind(
        files={"example.npz": ("npz", "npz", "zip"), "example.pt": ("torch", "torch", "zip")},
        commands=(
            *(3 * (f"inspect {ARCH} --example FILE",)),
            f"inspect {ARCH} --example FILE --example example.pt --json",
            f"export r/shrunk.pt {ARCH} --example FILE --out o.onnx",
        ),
        share=6,
        beside=("r/shrunk.pt", "example.pt"),
    ),
    "checkpoint with examples": Kind(
        files={"fed.pt": ("torch",), "fed.safetensors": ("safetensors",)},
        commands=(*(2 * INSPECT[:2]), f"shrink FILE {ARCH} --out o.pt", f"export FILE {ARCH} --out o.onnx"),
        share=6,
    ),
    "idx": Kind(
        files={
            "mnist/train-images-idx3-ubyte.gz": ("idx",),
            "mnist/t10k-labels-idx1-ubyte": ("idx",),
            "mnist/train-labels-idx1-ubyte": ("idx",),
            "mnist/t10k-images-idx3-ubyte.gz": ("idx",),
        },
        commands=(f"fine-tune {ARCH} --arch-arg classes=10 --data mnist:mnist {TINY} --epochs 1 --out o.pt",),
        share=5,
        folder="mnist",
        beside=("r/sparse.pt",),
    ),
    "photos": Kind(
        files={
            "photos/class0/0.png": ("png",),
            "photos/class1/5.jpg": (),
            "photos/class2/6.bmp": (),
            "photos/class3/7.webp": (),
        },
        commands=(f"evaluate r/sparse.pt {ARCH} --data folder:photos", f"evaluate r/sparse.pt {ARCH} --data photos"),
        share=6,
        folder="photos",
        beside=("r/sparse.pt",),
    ),
    "zipped photos": Kind(
        files={"photos.zip": ("zip",)},
        commands=(f"evaluate r/sparse.pt {ARCH} --data folder:FILE",),
        share=5,
        beside=("r/sparse.pt",),
    ),
    "report": Kind(
        files={"run.json": ("json",), "benchmark.json": ("json",)},
        commands=(
            "compare FILE FILE",
            "compare r/report.json FILE --max-drop 5",
            "compare FILE benchmark.json --min-speedup 0.1 --json",
            "compare FILE r/report.json --out c.html",
            "compare benchmark.json FILE --out c.md",
        ),
        share=12,
        beside=("r/report.json", "benchmark.json"),
    ),
    "run folder": Kind(
        files={
            "r/run.json": ("json",),
            "r/report.json": ("json",),
            "r/groups.safetensors": (),
            "r/sparse.pt": ("torch",),
            "r/shrunk.pt": ("torch",),
            "r/recovered.pt": ("torch",),
            "r/dense.pt": ("torch",),
            "r/small.onnx": ("onnx",),
            **{
                f"r/stages/{name}.json": ("json",)
                for name in ("dense", "fine-tune", "shrink", "recover", "export", "benchmark")
            },
            "r/fine-tune.jsonl": (),
        },
        # To start again takes seconds.
        commands=(
            *(20 * (" ".join(RUN),)),
            " ".join((*RUN, "--overwrite")),
            *(20 * (" ".join((*RUN, "--json")),)),
        ),
        share=12,
        folder="r",
        beside=("dense.pt",),
    ),
    "training state": Kind(
        files={STATES: ("state",)},
        commands=(" ".join(TRAINING),),
        share=5,
        folder="states",
    ),
    "class names": Kind(
        files={"names.txt": ()},
        commands=(
            f"evaluate r/sparse.pt {ARCH} --classes FILE",
            f"evaluate r/sparse.pt {ARCH} --classes FILE --json",
            f"export r/shrunk.pt {ARCH} --classes FILE --out o.onnx",
            f"shrink r/sparse.pt {ARCH} --classes FILE --out o.pt",
        ),
        share=3,
        beside=("r/sparse.pt", "r/shrunk.pt"),
    ),
    "factory": Kind(
        files={"net.py": ()},
        commands=(f"inspect r/sparse.pt {ARCH}", f"evaluate r/sparse.pt {ARCH}"),
        share=2,
        beside=("r/sparse.pt",),
    ),
    "options": Kind(
        files={"names.txt": ()},
        commands=(
            *(
                f"fine-tune {ARCH} {DATA} --epochs 1 --max-train 64 --out o.pt --{option} 'VALUE'"
                for option in TRAINING
            ),
            *(f"inspect r/sparse.pt --{option} 'VALUE'" for option in ("arch", "input-shape", "normalize", "classes")),
            *(f"evaluate r/sparse.pt {ARCH} --{option} 'VALUE'" for option in ("data", "part", "device", "split-seed")),
            *(f"export r/shrunk.pt {ARCH} --{option} 'VALUE'" for option in ("opset", "format")),
            *(
                f"compare r/report.json r/report.json --{option} 'VALUE'"
                for option in ("max-drop", "min-speedup", "out")
            ),
            *(f"benchmark r/small.onnx --{option} 'VALUE'" for option in ("batch", "threads", "provider")),
        ),
        values=(*VALUES, *(text for text in values.TEXTS if "\0" not in text and "\ud800" not in text)),
        share=6,
        beside=("r/sparse.pt", "r/shrunk.pt", "r/report.json", "r/small.onnx"),
    ),
}
