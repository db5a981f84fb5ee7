"""``--data file.py:NAME`` and ``--task`` with what does not go with them: one line each, before any work."""

from __future__ import annotations

import pytest
import torch

from compressor.checkpoints import fresh, load, save
from compressor.checkpoints.metadata import DataChoice

FILE = """
import torch
from torch import nn
from compressor.tasks import Task

print("this file was run")


def build():
    return nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 2))


def loaders():
    return [[(torch.randn(4, 3), torch.zeros(4).long())]] * 3


def wide():
    return [[(torch.randn(4, 5), torch.zeros(4).long())]] * 3


def dicts():
    return [[{"x": torch.randn(4, 3)}]] * 3


class Bare:
    primary = "x"

    def loss(self, model, batch):
        return model(batch[0]).mean()


class NoLoss(Task):
    primary = "x"

    def metrics(self, model, batches):
        return {"x": 1.0}


class Unnamed(NoLoss):
    primary = ""

    def loss(self, model, batch):
        return model(batch[0]).mean()


class Detached(Unnamed):
    primary = "x"

    def loss(self, model, batch):
        return model(batch[0]).detach().mean()


class Other(Unnamed):
    primary = "y"
"""


@pytest.fixture
def mine(tmp_path):
    (tmp_path / "mine.py").write_text(FILE)
    save(fresh(f"{tmp_path / 'mine.py'}:build", input_shape=(3,)), tmp_path / "net.pt")
    return tmp_path / "net.pt"


OWN = ("--data", "mine.py:loaders")


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (OWN, "--data mine.py:loaders needs a --task: your own, or one of compress list tasks"),
        ((*OWN, "--task", "clasification"), "classification"),
        ((*OWN, "--task", "mine.py:Bare"), "has no inputs, metrics, outputs, match, distance; derive it from"),
        ((*OWN, "--task", "mine.py:NoLoss"), "task mine.py:NoLoss has no loss"),
        ((*OWN, "--task", "mine.py:Unnamed"), "does not say which of its metrics counts; give it a name"),
        ((*OWN, "--task", "mine.py:Absent"), "mine.py has no class 'Absent'; it has: Bare"),
        ((*OWN, "--task", "mine.py:Detached"), "the loss of task Detached has no gradient"),
        ((*OWN, "--task", "mine.py:Other"), "task Other measures x, and not 'y', which is to count"),
        ((*OWN, "--task", "regression"), "the network returns 4x2, and the batch has targets of 4"),
        (
            (*OWN, "--task", "classification", "--task-arg", "smooth"),
            "--task-arg 'smooth' is not a pair; write name=value",
        ),
        ((*OWN, "--task", "classification", "--batch-size", 8), "--batch-size does not go with --data mine.py:loaders"),
        ((*OWN, "--task", "classification", "--normalize", "imagenet"), "--normalize does not go with --data"),
        ((*OWN, "--task", "classification", "--max-train", 8), "--max-train does not go with --data"),
        ((*OWN, "--task", "classification", "--augment", "none"), "--augment does not go with --data"),
        ((*OWN, "--task", "classification", "--data-workers", 2), "--data-workers does not go with --data"),
        (("--data", "mine.py:wide", "--task", "classification"), "the network does not run on a batch of mine.py:wide"),
        (
            ("--data", "mine.py:dicts", "--task", "classification"),
            "a batch is a dict; a task of your own says by inputs()",
        ),
        (("--data", "mine.py", "--task", "classification"), "data 'mine.py' names no function; write mine.py:function"),
        (
            ("--data", "digits", "--task", "segmentation"),
            "needs batches of your own, --data file.py:loaders; digits has",
        ),
    ],
)
def test_what_does_not_fit_is_told_in_a_line(compress, mine, options, told):
    command = ("fine-tune", mine, "--trust-arch", *options, "--epochs", 1, "--quiet")
    done = compress(*command, *(("--input-shape", "1x8x8") if "digits" in options else ()))
    assert done.exit_code in {1, 2}
    line = done.stderr.strip().splitlines()[-1]
    assert line.startswith("Error: ")
    assert told in line
    assert not list(mine.parent.glob("*-tuned*"))


def test_a_plan_is_of_data_sets_alone(compress, mine):
    done = compress("run", mine, "--trust-arch", *OWN, "--task", "classification", "--plan")
    assert "--plan needs a data set that compress reads itself; mine.py:loaders makes its own" in done.stderr


def test_classification_takes_batches_of_ones_own(compress, mine):
    done = compress(
        "fine-tune", mine, "--trust-arch", *OWN, "--task", "classification", "--epochs", 1, "--out", "out.pt"
    )
    assert done.exit_code == 0, done.stderr
    known = load("out.pt", trust_arch=True).metadata
    assert known.data is None
    assert known.history[-1]["data"] == "mine.py:loaders"


def test_a_data_set_can_be_trained_with_options_of_its_task(compress, tiny, tmp_path):
    weights = {}
    for smoothing in ("0.0", "0.3"):
        out = tmp_path / f"{smoothing}.pt"
        done = compress("recover", tiny.checkpoint, "--trust-arch", "--data", tiny.data, "--epochs", 1, "--task-arg",
                        f"label_smoothing={smoothing}", "--out", out, "--quiet")  # fmt: skip
        assert done.exit_code == 0, done.stderr
        weights[smoothing] = load(out, trust_arch=True).model[0].weight
    assert not torch.equal(*weights.values())


def test_code_that_a_checkpoint_names_as_its_data_never_runs(compress, mine, tmp_path):
    network = load(mine, trust_arch=True)
    (tmp_path / "evil.py").write_text("open('ran', 'w')\n")
    metadata = network.metadata.__class__(**{**vars(network.metadata), "data": DataChoice(ref="evil.py:loaders")})
    save(network.__class__(network.model, metadata), tmp_path / "evil.pt")
    for command in ("evaluate", "shrink", "prune"):
        compress(command, tmp_path / "evil.pt", "--trust-arch", *(("--target-macs", 0.5) if command == "prune" else ()))
    assert not (tmp_path / "ran").exists()
