"""Figures of a training where its users look at them while it runs."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from test_loop import DATA, network, recipe

from compressor.errors import CompressorError, UnknownName, UsageError
from compressor.loggers import LOGGERS, NEEDS, logging_to, require_loggers
from compressor.training import train
from compressor.training.telling import LOG_EVERY

QUICK = ("--epochs", 2, "--lr", 0.1, "--batch-size", 32)


def rows(folder):
    [file] = folder.glob("csv/version_*/metrics.csv")
    return [
        {key: float(value) for key, value in row.items() if value}
        for row in csv.DictReader(file.read_text().splitlines())
    ]


def test_every_epoch_is_logged_as_it_is_recorded(compress, tiny):
    done = compress("fine-tune", tiny.checkpoint, "--arch", tiny.arch, *QUICK, "--log", "csv", "--out", "a.pt")
    assert done.exit_code == 0, done.stderr
    epochs = [json.loads(line) for line in Path("a.jsonl").read_text().splitlines()]
    found = rows(Path("a.logs"))
    assert [row["epoch"] for row in found] == [1, 2]
    for row, epoch in zip(found, epochs, strict=True):
        assert row["loss"] == epoch["loss"]
        assert row["validation"] == epoch["validation"]["value"]
        assert row["samples_per_second"] > 0
        assert 0 < row["network_share"] <= 1
    assert found[0]["seconds_left"] > found[1]["seconds_left"] == 0
    assert found[0]["learning_rate"] > found[1]["learning_rate"] == pytest.approx(0, abs=1e-9)


def test_a_run_logs_both_of_its_trainings(compress, tiny, run_options, tmp_path):
    done = compress("run", tiny.checkpoint, "--arch", tiny.arch, *run_options, "--log", "csv", "--out", "r", "--quiet")
    assert done.exit_code == 0, done.stderr
    for stage in ("fine-tune", "recover"):
        assert rows(Path("r/logs") / stage)
    assert not list(Path().glob("*.logs"))


def test_long_epochs_tell_in_between():
    told = []

    def log(figures, step):
        told.append((step, figures))

    data = replace(DATA, train=DATA.train.take(torch.arange(128) % 64))
    train(network(), data, recipe(epochs=1, batch_size=2), normalization=None, log=log)
    assert [step for step, _ in told] == [LOG_EVERY, 64]
    assert set(told[0][1]) == {"loss", "learning_rate"}


def test_a_training_without_loggers_writes_nothing(compress, tiny):
    compress("fine-tune", tiny.checkpoint, "--arch", tiny.arch, *QUICK, "--out", "a.pt")
    assert sorted(path.name for path in Path().iterdir()) == ["a.jsonl", "a.pt"]


@pytest.mark.parametrize("name", NEEDS)
def test_a_missing_library_is_told_before_any_work(compress, tiny, monkeypatch, name):
    monkeypatch.setattr("compressor.loggers.find_spec", lambda library: None)
    done = compress("fine-tune", tiny.checkpoint, "--arch", tiny.arch, *QUICK, "--log", name, "--out", "a.pt")
    assert done.exit_code == 2
    assert done.error == [f"Error: --log {name} needs {name}, which is not installed: pip install {name}"]
    assert not list(Path().iterdir())


def test_an_unknown_logger_is_refused():
    with pytest.raises(UnknownName, match="logger"):
        require_loggers(["cvs"])


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # the libraries' own
@pytest.mark.parametrize("name", LOGGERS)
def test_every_logger_takes_figures_and_ends(name, tmp_path, monkeypatch):
    if not any(find_spec(library) for library in NEEDS.get(name, ("csv",))):
        pytest.skip(f"{' and '.join(NEEDS[name])} not installed")
    monkeypatch.setenv("WANDB_MODE", "offline")
    with logging_to([name], tmp_path, {"lr": 0.1}) as log:
        log({"loss": 1.0}, 1)
        log({"loss": 0.5}, 2)
    assert any(path.is_file() for path in tmp_path.rglob("*"))


def test_a_training_that_fails_is_said_to_have_failed(tmp_path, monkeypatch):
    ended = []

    class Fake:
        def __init__(self, folder, settings):
            self.settings = settings

        def finalize(self, status):
            ended.append(status)

    monkeypatch.setitem(LOGGERS, "csv", "test_logging:Fake")
    monkeypatch.setattr("compressor.loggers.resolve", lambda *names: Fake)
    for error in (None, CompressorError("no space"), UsageError("no")):
        try:
            with logging_to(["csv"], tmp_path, {}):
                if error is not None:
                    raise error
        except CompressorError:
            pass
    assert ended == ["success", "failed", "failed"]
