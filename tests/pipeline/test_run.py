"""The whole road on the tiny network, and what stands in its folder at the end."""

import json
from pathlib import Path

import onnx
import pytest

from compressor.checkpoints import load
from compressor.pipeline.folder import STAGES
from compressor.report import read_document

ROWS = ["dense", "fine-tuned", "projected", "shrunk", "recovered", "onnx"]


@pytest.fixture
def document(finished):
    return read_document(finished[0] / "report.json")


def test_the_report_is_what_was_printed(finished, document):
    assert json.loads(finished[1].stdout) == document


def test_the_report_has_a_row_for_every_step(document):
    assert [row["stage"] for row in document["stages"]] == ROWS
    assert all(row["accuracy"]["n"] == 48 for row in document["stages"])


def test_the_target_is_met_and_stated(document):
    assert document["target"] == {"kind": "macs", "asked": 0.5, "reached": pytest.approx(62336 / 156928), "met": True}


def test_nothing_is_lost_by_removal(document):
    assert document["removal"]["float64"] <= 1e-9
    assert document["removal"]["channels_removed"] == 12


def test_its_layers_are_narrower(document):
    assert [(layer["before"], layer["after"]) for layer in document["layers"]][-1] == (4, 4)
    assert sum(layer["macs_after"] for layer in document["layers"]) == document["stages"][-1]["macs"]


def test_half_of_the_epochs_recover(document):
    assert [(epoch["phase"], epoch["epoch"]) for epoch in document["training"]] == [("fine-tune", 1), ("recover", 1)]


@pytest.mark.parametrize("name", ["report.html", "report.md"])
def test_people_find_the_report(finished, name):
    assert "recovered" in (finished[0] / name).read_text()


def test_the_folder_holds_every_product_and_no_leftovers(finished):
    names = {path.relative_to(finished[0]).as_posix() for path in finished[0].rglob("*") if path.is_file()}
    checkpoints = {"dense.pt", "sparse.pt", "small.pt", "recovered.pt"}
    reports = {"report.json", "report.html", "report.md", "run.json"}
    others = {"dense.onnx", "small.onnx", "fine-tune.jsonl", "recover.jsonl"}
    assert names == checkpoints | reports | others | {f"stages/{stage}.json" for stage in STAGES}


def test_its_checkpoints_know_their_history(finished):
    stages = [stage["stage"] for stage in load(finished[0] / "recovered.pt", trust_arch=True).metadata.history]
    assert stages == ["fine-tune", "fine-tune", "shrink", "fine-tune"]


def test_its_onnx_files_pass_the_checker(finished):
    for name in ("dense.onnx", "small.onnx"):
        onnx.checker.check_model(onnx.load(finished[0] / name), full_check=True)


def test_people_read_a_table_and_where_the_report_is(finished, tiny, compress, run_options):
    done = compress("run", tiny.checkpoint, "--arch", tiny.arch, *run_options, "--out", finished[0])
    assert [
        line.split()[0] for line in done.stdout.splitlines() if line.split()[:1] and line.split()[0] in ROWS
    ] == ROWS
    assert done.stdout.splitlines()[-1] == f"Report: {finished[0] / 'report.html'}"


def test_without_out_the_folder_is_called_like_the_model(tiny, compress, monkeypatch):
    asked = []

    def stop(path, *args, **options):
        asked.append(path)
        raise ZeroDivisionError

    monkeypatch.setattr("compressor.pipeline.open_folder", stop)
    with pytest.raises(ZeroDivisionError):
        compress("run", tiny.checkpoint, "--arch", tiny.arch)
    assert asked == [Path("runs/tiny")]


def test_quiet_prints_no_progress(finished):
    assert [line for line in finished[1].stderr.splitlines() if not line.startswith("Warning")] == []
