import json
import re
from pathlib import Path

import pytest
import torch

from compressor.checkpoints import load

QUICK = ("--epochs", 1, "--lr", 0.1, "--batch-size", 32)


@pytest.fixture
def recovered(tiny, finished, compress):
    done = compress(
        "recover", finished[0] / "shrunk.pt", "--trust-arch", "--teacher", tiny.checkpoint, *QUICK, "--data", tiny.data
    )
    assert done.exit_code == 0, done.stderr
    return done


def test_the_default_output_says_what_was_done(recovered):
    assert sorted(path.name for path in Path().iterdir()) == ["shrunk-recovered.jsonl", "shrunk-recovered.pt"]


def test_the_network_keeps_its_size(recovered, finished):
    small, after = (load(path, trust_arch=True) for path in (finished[0] / "shrunk.pt", "shrunk-recovered.pt"))
    assert [p.shape for p in after.model.parameters()] == [p.shape for p in small.model.parameters()]


def test_people_read_the_accuracy_before_and_after(recovered):
    assert "before" in recovered.stdout
    assert "after training" in recovered.stdout
    assert "projection" not in recovered.stdout
    assert re.fullmatch(
        r"Wrote shrunk-recovered\.pt \([\d,]+ bytes, [\d,]+ after gzip -6\)", recovered.stdout.splitlines()[-1]
    )


def test_the_suffix_of_shrink_gives_way(tiny, compress):
    compress("shrink", tiny.sparse, "--trust-arch")
    compress("recover", "tiny-shrunk.pt", "--trust-arch", "--data", tiny.data, *QUICK)
    assert Path("tiny-recovered.pt").exists()


def test_the_teacher_matters(tiny, finished, compress):
    losses, options = [], ("--trust-arch", "--data", tiny.data, *QUICK, "--json")
    for teacher in ([], ["--teacher", tiny.checkpoint]):
        done = compress("recover", finished[0] / "shrunk.pt", *options, *teacher, "--out", f"{len(losses)}.pt")
        losses.append(json.loads(done.stdout)["epochs"][0]["loss"])
    assert losses[0] != losses[1]


def test_a_share_without_a_teacher_is_refused(tiny, compress):
    done = compress("recover", tiny.sparse, "--trust-arch", "--data", tiny.data, *QUICK, "--teacher-share", 0.9)
    assert (done.exit_code, done.error) == (2, ["Error: --teacher-share 0.9 needs a --teacher, whose share it is"])


@pytest.mark.parametrize(
    "option",
    [("--ema", 0.9), ("--schedule", "constant"), ("--schedule", "one-cycle"), ("--accumulate", 2), ("--clip", 0.01)],
    ids=str,
)
def test_every_option_of_the_training_changes_the_result(option, tiny, finished, compress):
    ends, known = [], ("--trust-arch", "--data", tiny.data, "--epochs", 2, "--lr", 0.1, "--batch-size", 32)
    for options in ((), option):
        out = f"{len(ends)}.pt"
        done = compress("recover", finished[0] / "shrunk.pt", *known, *options, "--out", out)
        assert done.exit_code == 0, done.stderr
        ends.append(next(load(out, trust_arch=True).model.parameters()).detach())
    assert not torch.allclose(ends[0], ends[1])


def test_penalties_have_no_place_here(tiny, compress):
    done = compress("recover", tiny.sparse, "--trust-arch", "--penalty", "l1")
    assert (done.exit_code, done.error) == (2, ["Error: No such option '--penalty'."])
