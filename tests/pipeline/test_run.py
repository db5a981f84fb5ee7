"""The whole pipeline on the tiny network, and what stands in its folder at the end."""

import json
from pathlib import Path

import onnx
import pytest

from compressor.checkpoints import load
from compressor.codec import read_report
from compressor.records.run import Target
from compressor.stages import REPORTS, STAGES

ROWS = [row for stage in STAGES for row in stage.rows]


@pytest.fixture
def report(finished):
    return read_report(finished[0] / "report.json")


def test_the_report_is_what_was_printed(finished):
    assert json.loads(finished[1].stdout) == json.loads((finished[0] / "report.json").read_text())


def test_the_rows_are_those_that_people_know():
    assert ROWS == ["dense", "fine-tuned", "projected", "re-estimated", "shrunk", "recovered", "onnx"]


def test_the_report_has_a_row_for_every_step(report):
    assert [row.stage for row in report.stages] == ROWS
    assert all(row.metric.n == 48 for row in report.stages)


def test_the_row_of_removal_shows_removal_alone(report):
    rows = {row.stage: row for row in report.stages}
    assert rows["shrunk"].metric == rows["re-estimated"].metric
    assert rows["shrunk"].macs < rows["re-estimated"].macs == rows["projected"].macs
    assert rows["re-estimated"].note == "BatchNorm statistics re-estimated, the weights are the same"
    assert rows["shrunk"].note.endswith("channels removed, which changes no output")


def test_what_stale_statistics_bring_down_is_marked(report):
    assert [row.stage for row in report.stages if row.stale] == ["fine-tuned", "projected"]
    assert all("BatchNorm statistics still lag behind" in row.note for row in report.stages if row.stale)


def test_every_file_that_holds_a_network_has_one_row(report, finished):
    named = [row.file for row in report.stages if row.file]
    assert named == ["dense.pt", "sparse.pt", "shrunk.pt", "recovered.pt", "small.onnx"]
    assert not {path.name for path in finished[0].glob("*.pt")} - set(named)


def test_parameters_are_counted_once(report):
    counted = {row.variant: (row.parameters, row.parameters_nonzero) for row in report.stages if row.variant}
    assert counted == {one.name: (one.parameters, one.parameters_nonzero) for one in report.benchmark.variants}
    assert report.stages[-1].parameters_nonzero <= report.stages[-1].parameters < report.stages[0].parameters


def test_the_target_is_met_and_stated(report):
    wider = "16 instead of 8 channels of 3: 0.501"
    assert report.target == Target(kind="macs", asked=0.5, reached=41600 / 156928, met=True, next=wider)
    assert report.targets == (report.target,)


def test_nothing_is_lost_by_removal(report):
    assert report.removal.float64 <= 1e-9
    assert report.removal.channels_removed == 16


def test_its_layers_are_narrower(report):
    assert (report.layers[-1].before, report.layers[-1].after) == (4, 4)
    assert sum(layer.macs_after for layer in report.layers) == report.stages[-1].macs


def test_half_of_the_epochs_recover(report):
    assert [(epoch.phase, epoch.epoch) for epoch in report.training] == [("fine-tune", 1), ("recover", 1)]


@pytest.mark.parametrize("name", ["report.html", "report.md"])
def test_people_find_the_report(finished, name):
    assert "recovered" in (finished[0] / name).read_text()


def test_the_folder_holds_every_product_and_no_leftovers(finished):
    names = {path.relative_to(finished[0]).as_posix() for path in finished[0].rglob("*") if path.is_file()}
    files = {file for stage in STAGES for file in stage.files if not file.endswith(".onnx.data")}
    assert names == {*files, *REPORTS, "run.json", *(f"stages/{stage.name}.json" for stage in STAGES)}


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
