import json
import logging.handlers
from pathlib import Path

import pytest

from compressor.checkpoints import load
from compressor.groups import find_groups, is_zero
from compressor.records.run import Target
from compressor.splitting import Splitting

QUICK = ("--epochs", 2, "--lr", 0.1, "--batch-size", 32)


def zero_channels(path):
    network = load(path, trust_arch=True)
    groups = find_groups(network.model, network.example_input())
    return sum(int(is_zero(network.model, group).sum()) for group in groups if group.prunable)


def test_its_channels_are_exactly_zero(tiny):
    assert zero_channels(tiny.checkpoint) == 0
    assert zero_channels(tiny.sparse) == 16


def test_people_read_accuracies_macs_and_gap(tiny, compress):
    done = compress("fine-tune", tiny.checkpoint, "--arch", tiny.arch, *QUICK, "--target-macs", 0.5, "--out", "a.pt")
    for words in ("before", "after training", "after projection", "MACs", "Gap", "Wrote a.pt"):
        assert words in done.stdout


def test_machines_read_one_document(tiny, compress):
    args = ("--target-params", 0.6, "--penalty", "l1", "--json", "--out", "a.safetensors")
    done = compress("fine-tune", tiny.checkpoint, "--arch", tiny.arch, *QUICK, *args)
    document = json.loads(done.stdout)
    assert document["projected"]["n"] == 48
    assert document["projection"]["parameters"][1] <= 0.6 * document["parameters"]
    assert document["out"] == "a.safetensors"


def test_metrics_are_one_json_line_an_epoch(tiny):
    lines = tiny.sparse.with_suffix(".jsonl").read_text().splitlines()
    assert [json.loads(line)["epoch"] for line in lines] == [1, 2, 3, 4]


def test_a_penalty_alone_keeps_half_of_the_macs(tiny, compress):
    args = ("--penalty", "l1-l2", "--out", "a.pt", "--json")
    done = compress("fine-tune", tiny.checkpoint, "--arch", tiny.arch, *QUICK, *args)
    dense, kept = json.loads(done.stdout)["projection"]["macs"]
    assert kept <= 0.5 * dense


def test_the_default_output_says_what_was_done(tiny, compress):
    for extra, name in ((("--target-macs", 0.5), "tiny-sparse.pt"), ((), "tiny-tuned.pt")):
        assert compress("fine-tune", tiny.checkpoint, "--arch", tiny.arch, *QUICK, *extra).exit_code == 0
        assert Path(name).exists()


def test_a_teacher_is_a_checkpoint(tiny, compress):
    teacher = ("--teacher", tiny.checkpoint)
    done = compress("fine-tune", tiny.sparse, "--arch", tiny.arch, *QUICK, *teacher, "--out", "a.pt")
    assert done.exit_code == 0
    assert zero_channels("a.pt") == 16


def test_a_missed_target_is_exit_code_1_and_the_checkpoint_is_kept(tiny, compress, monkeypatch):
    missed = Target(kind="macs", asked=0.5, reached=0.597, met=False)
    monkeypatch.setattr(Splitting, "_outcomes", lambda *_: [missed])
    done = compress("fine-tune", tiny.checkpoint, "--arch", tiny.arch, *QUICK, "--target-macs", 0.5, "--out", "a.pt")
    assert done.exit_code == 1
    assert done.error == [
        "Error: 0.597 of the MACs are left, but at most 0.5 was asked for; the result is kept in a.pt"
    ]
    assert Path("a.pt").exists()


def test_a_failed_training_can_be_given_again(tiny, compress):
    diverging = ("fine-tune", tiny.checkpoint, "--arch", tiny.arch, "--epochs", 4, "--lr", 1e30, "--out", "a.pt")
    first, second = compress(*diverging), compress(*diverging)
    assert first.exit_code == 1
    assert "use a smaller --lr" in first.stderr
    assert second.error == first.error
    assert not list(Path().iterdir())


def test_epochs_that_were_undone_are_warned_about(tiny, compress, monkeypatch):
    answers = iter([False])
    monkeypatch.setattr("compressor.training.loop.finite", lambda model: next(answers, True))
    done = compress("fine-tune", tiny.checkpoint, "--arch", tiny.arch, "--epochs", 1, "--out", "a.pt")
    assert done.exit_code == 0
    told = "Warning: training diverged in epoch 1, which was undone and repeated with half the learning rate"
    assert told in done.stderr


@pytest.mark.parametrize("flag", ["--quiet", "-q"])
def test_quiet_prints_no_progress(tiny, compress, flag):
    done = compress("fine-tune", tiny.checkpoint, "--arch", tiny.arch, *QUICK, "--out", "a.pt", flag)
    assert (done.exit_code, done.stderr) == (0, "")


def test_half_precision_announces_nothing(tiny, compress):
    heard = logging.handlers.BufferingHandler(capacity=100)
    logging.getLogger("lightning_fabric").addHandler(heard)
    done = compress("fine-tune", tiny.checkpoint, "--arch", tiny.arch, *QUICK, "--precision", "bf16", "--out", "a.pt")
    logging.getLogger("lightning_fabric").removeHandler(heard)
    assert (done.exit_code, heard.buffer) == (0, [])
