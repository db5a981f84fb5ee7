"""What a run is said to take before it trains anything."""

import json
import shutil

import pytest

from compressor.codec import read_report

QUICK = ("--max-seconds", "0.5", "--lr", "0.1", "--batch-size", "32", "--seed", "1")


@pytest.fixture(scope="module")
def planned(compress, tiny):
    outcome = compress("run", tiny.checkpoint, "--arch", tiny.arch, "--epochs", "5", *QUICK, "--plan", "--json")
    assert outcome.exit_code == 0, outcome.stderr
    return json.loads(outcome.stdout)


def test_stages_epochs_and_steps_are_those_of_the_run(planned):
    stages = planned["stages"]
    assert [stage["name"] for stage in stages] == ["dense", "fine-tune", "shrink", "recover", "export", "benchmark"]
    assert [(stage["epochs"], stage["steps"]) for stage in stages if stage["epochs"]] == [(1, 5), (4, 20)]
    assert all(stage["seconds"] > 0 for stage in stages)
    assert planned["seconds"] == pytest.approx(sum(stage["seconds"] for stage in stages))


def test_widths_are_some_that_the_target_gives(planned, finished):
    report = read_report(finished[0] / "report.json")
    assert planned["target"]["met"]
    assert planned["macs"][0] == report.stages[0].macs
    assert planned["macs"][1] <= 0.5 * planned["macs"][0]
    assert [(layer["name"], layer["before"]) for layer in planned["layers"]] == [
        (layer.name, layer.before) for layer in report.layers
    ]
    assert sum(layer["macs_after"] for layer in planned["layers"]) == planned["macs"][1]


def test_disk_is_what_a_run_leaves(planned, finished):
    left = sum(path.stat().st_size for path in finished[0].rglob("*") if path.suffix in {".pt", ".onnx"})
    assert planned["disk_bytes"] < left  # of so small a network most is not weights
    assert planned["peak_disk_bytes"] >= planned["disk_bytes"]
    assert planned["memory_bytes"] > 50e6


def test_a_search_is_planned_with_all_its_runs(compress, tiny, planned):
    options = ("--epochs", "5", "--target-drop", "20", "--max-probes", "7", "--plan", "--json")
    outcome = compress("run", tiny.checkpoint, "--arch", tiny.arch, *QUICK, *options)
    document = json.loads(outcome.stdout)
    assert document["runs"] == 7
    assert document["seconds"] == pytest.approx(7 * sum(stage["seconds"] for stage in document["stages"]))


def test_a_target_out_of_reach_is_told(compress, tiny):
    outcome = compress("run", tiny.checkpoint, "--arch", tiny.arch, *QUICK, "--target-macs", "0.001", "--plan")
    assert outcome.exit_code == 1
    assert len(outcome.error) == 1


def test_nothing_is_written(compress, tiny, finished, tmp_path):
    folder = shutil.copytree(finished[0], tmp_path / "r")
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    outcome = compress("run", tiny.checkpoint, "--arch", tiny.arch, "--epochs", "3", *QUICK, "--plan", "--out", folder)
    assert outcome.exit_code == 0, outcome.stderr
    assert "Nothing was trained or written." in outcome.stdout
    assert "Fine-tuning with the penalty" in outcome.stdout
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before
