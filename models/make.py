"""Train the embedded models and write their cards: ``make models``, or one with ``python models/make.py NAME``.

Each card holds the exact command; this script only runs those commands and measures what they made.
"""

from __future__ import annotations

import hashlib
import shlex
import subprocess
import sys
from pathlib import Path

from compressor.checkpoints import load
from compressor.costs import count_macs, count_parameters
from compressor.data import load_data
from compressor.training.evaluation import model_accuracy

HERE = Path(__file__).parent
DIGITS = (
    "Handwritten digits: the test part of E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits, "
    "UCI Machine Learning Repository, 1998, as distributed by scikit-learn; 1,797 images of 8x8 pixels, upsampled. "
    "Licence of the data: CC BY 4.0.\n\n"
    "The test images were held out of training and of every choice; they are drawn by the split seed alone."
)
CURVES = (
    "Words and numbers that this package draws in fonts of matplotlib (DejaVu, STIX, Computer Modern), half of them "
    "shaken: a stand-in for shaky writing, no handwriting.\n\n"
    "No text of the test images occurs in training. How strong the tremor is was chosen so that a network like this "
    "one\nerrs on less than one image in a hundred."
)
SOURCES = {"curves": CURVES, "digits": DIGITS}
COMMANDS = {
    "curves_cnn": "compress fine-tune --arch curves-cnn --data curves --penalty none --epochs 20 --lr 0.01 --seed 0",
    "digits_lenet": "compress fine-tune --arch lenet5 --data digits --penalty none --epochs 40 --lr 0.05 --seed 0",
    "digits_resnet": (
        "compress fine-tune --arch resnet20 --arch-arg in_channels=1 --data digits --penalty none "
        "--epochs 30 --lr 0.05 --seed 0"
    ),
}
CARD = """# {name}

| | |
|---|---|
| architecture | `{architecture}` {arguments} |
| input | {shape}, values in [0, 1], normalisation: {normalization} |
| classes | {classes} |
| data | `{data}`, split seed {split_seed} |
| accuracy on the {n} held-out test images | {accuracy:.2f} % (95 % interval {low:.2f} to {high:.2f}) |
| parameters | {parameters:,} |
| multiply-accumulates | {macs:,} |
| file | `{file}`, {size:,} bytes |
| sha256 | `{sha256}` |

{source} Made by

```console
$ {command}
```

with random initial weights. The same command on another processor or another version of PyTorch gives a network of
the same quality, not the same bytes.
"""


def make(name: str) -> None:
    """Run the command of one model and write its card beside it."""
    path = HERE / f"{name}.pt"
    command = f"{COMMANDS[name]} --out models/{name}.pt"
    subprocess.run(
        [sys.executable, "-m", "compressor", *shlex.split(command)[1:], "--overwrite"], check=True, cwd=HERE.parent
    )
    path.with_suffix(".jsonl").unlink()
    path.with_suffix(".md").write_text(card(name, path, command), encoding="utf-8")


def card(name: str, path: Path, command: str) -> str:
    """The model card, from what the checkpoint says and what is measured on it now."""
    network = load(path)
    known = network.metadata
    assert known.data is not None
    data = load_data(known.data.ref, known.input_shape, split_seed=known.data.split_seed)
    accuracy = model_accuracy(network.model, data.test, known.normalization)
    content = path.read_bytes()
    return CARD.format(
        name=name,
        architecture=known.architecture.ref,
        arguments=" ".join(f"{key}={value}" for key, value in known.architecture.args.items()),
        shape="x".join(map(str, known.input_shape)),
        normalization=known.normalization,
        classes=", ".join(known.classes or ()),
        data=known.data.ref,
        split_seed=known.data.split_seed,
        n=accuracy.n,
        accuracy=100 * accuracy.value,
        low=100 * accuracy.ci95[0],
        high=100 * accuracy.ci95[1],
        parameters=count_parameters(network.model),
        macs=count_macs(network.model, network.example_input()),
        file=path.name,
        size=len(content),
        sha256=hashlib.sha256(content).hexdigest(),
        source=SOURCES[known.data.ref],
        command=command,
    )


if __name__ == "__main__":
    for chosen in sys.argv[1:] or COMMANDS:
        make(chosen)
