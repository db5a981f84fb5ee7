"""A sweep on the tiny network: what is in its folder, and what the same and other commands do there again."""

import hashlib
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest

from compressor.codec import decode, read_report
from compressor.records.run import RunReport
from compressor.records.sweep import SweepReport

TARGETS = ("--targets", "0.4,0.6")


@pytest.fixture(scope="module")
def sweep_command(tiny):
    quick = ("--align", "auto:8", "--lr", "0.1", "--batch-size", "32", "--seed", "1")
    return ("sweep", tiny.checkpoint, "--arch", tiny.arch, "--epochs", "2", "--max-seconds", "0.3", *quick)


@pytest.fixture(scope="module")
def swept(compress, sweep_command, tmp_path_factory):
    """The folder of an undisturbed sweep, and the document that the command printed."""
    folder = tmp_path_factory.mktemp("sweeps") / "swept"
    outcome = compress(*sweep_command, *TARGETS, "--out", folder, "--json", "--quiet")
    assert outcome.exit_code == 0, outcome.stderr
    return folder, json.loads(outcome.stdout)


@pytest.fixture
def report(swept):
    return decode((swept[0] / "sweep.json").read_bytes(), SweepReport, "sweep.json")


@pytest.fixture
def copied(swept, tmp_path):
    return shutil.copytree(swept[0], tmp_path / "copy")


def hashes(folder):
    """Of all networks."""
    found = [*folder.rglob("*.pt"), *folder.rglob("*.onnx")]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in found}


def test_the_document_is_what_was_printed(swept):
    assert json.loads((swept[0] / "sweep.json").read_text()) == swept[1]


def test_every_target_has_a_network_from_the_largest(report):
    assert [one.name for one in report.networks] == ["dense", "0.6", "0.4"]
    dense, *points = report.networks
    assert all(one.target.met and one.macs <= one.target.asked * dense.macs for one in points)
    assert points[0].macs > points[1].macs
    assert report.failed == ()


def test_every_point_is_an_ordinary_run(report, swept):
    for one in report.networks[1:]:
        point = read_report(swept[0] / "points" / one.name / "report.json")
        assert isinstance(point, RunReport)
        assert point.stages[-1].metric == one.metric
        assert point.target == one.target


def test_all_files_are_there_and_named(report, swept):
    for one in report.networks:
        assert one.files
        assert all((swept[0] / file).is_file() for file in one.files)
    assert {"points/0.4/small.onnx", "points/0.4/report.html"} <= {*report.networks[2].files}


def test_all_networks_were_timed_side_by_side(report):
    assert [variant.name for variant in report.benchmark.variants] == ["dense", "0.6", "0.4"]
    assert [comparison.variant for comparison in report.benchmark.comparisons] == ["0.6", "0.4"]


def test_the_change_is_measured_on_the_same_samples(report):
    for one in report.networks[1:]:
        low, high = one.change_ci95
        assert low <= one.metric.value - report.networks[0].metric.value <= high


def test_pages_name_every_network(swept):
    for name in ("sweep.html", "sweep.md"):
        text = (swept[0] / name).read_text()
        assert all(wanted in text for wanted in ("dense", "0.6", "0.4", "points/0.4/small.onnx"))
    assert "<svg" in (swept[0] / "sweep.html").read_text()


def test_the_same_command_repeats_nothing(compress, sweep_command, copied):
    before, times = hashes(copied), {path: path.stat().st_mtime_ns for path in copied.rglob("*.pt")}
    outcome = compress(*sweep_command, *TARGETS, "--out", copied, "--json")
    assert outcome.exit_code == 0, outcome.stderr
    assert "Fine-tuning" not in outcome.stderr
    assert (hashes(copied), {path: path.stat().st_mtime_ns for path in copied.rglob("*.pt")}) == (before, times)
    old = decode((copied / "sweep.json").read_bytes(), SweepReport, "sweep.json").benchmark
    assert json.loads(outcome.stdout)["benchmark"]["started"] == old.started


@pytest.mark.slow
def test_a_point_that_was_lost_is_made_again_and_ends_the_same(compress, sweep_command, copied):
    before = hashes(copied)
    shutil.rmtree(copied / "points" / "0.4")
    outcome = compress(*sweep_command, *TARGETS, "--out", copied, "--quiet")
    assert outcome.exit_code == 0, outcome.stderr
    assert hashes(copied) == before


def test_the_points_outlive_the_journal(compress, sweep_command, copied):
    before = hashes(copied)
    (copied / "study.journal").write_text('{"op_code":')
    broken = compress(*sweep_command, *TARGETS, "--out", copied, "--quiet")
    (copied / "study.journal").write_text('{"op_code": 99}\n')
    odd = compress(*sweep_command, *TARGETS, "--out", copied, "--quiet")
    (copied / "study.journal").unlink()
    again = compress(*sweep_command, *TARGETS, "--out", copied, "--quiet")
    assert again.exit_code == 0, again.stderr
    assert hashes(copied) == before
    for outcome in (broken, odd):
        assert outcome.exit_code in {0, 1}
        assert len(outcome.error) <= 1


def test_a_target_out_of_reach_leaves_the_others(compress, sweep_command, copied):
    outcome = compress(*sweep_command, "--targets", "0.6,0.001,0.4", "--out", copied, "--json", "--quiet")
    assert outcome.exit_code == 1
    document = json.loads(outcome.stdout)
    assert [one["name"] for one in document["networks"]] == ["dense", "0.6", "0.4"]
    assert [one["name"] for one in document["failed"]] == ["0.001"]
    assert len(outcome.error) == 1
    assert "0.001" in outcome.error[0]
    assert "kept in" in outcome.error[0]


def test_a_sweep_with_other_settings_is_refused(compress, sweep_command, copied):
    outcome = compress(*sweep_command, *TARGETS, "--seed", "2", "--out", copied)
    assert outcome.exit_code == 2
    assert outcome.error == [
        f"Error: {copied} holds a sweep with other settings (seed was 1 and is now 2); choose another --out, or pass "
        "--overwrite to start it again"
    ]


def test_a_folder_of_something_else_is_refused(compress, sweep_command, finished):
    outcome = compress(*sweep_command, *TARGETS, "--out", finished[0])
    assert outcome.exit_code == 2
    assert "exists and does not hold a sweep" in outcome.error[0]


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (("--targets", "0.5,0.5"), "--targets must be distinct, got 0.5, 0.5"),
        (("--targets", ","), "',' names no target; write for example 0.75,0.5,0.33,0.25"),
        (("--targets", "0.5,1.5"), "1.5 is not a share in (0, 1], for example 0.5"),
        (("--target-macs", "0.5"), "--targets are those of --target-macs"),
        (("--workers", "0"), "--workers must be between 1 and "),
    ],
)
def test_wrong_usage_is_one_line(compress, sweep_command, tmp_path, options, complaint):
    outcome = compress(*sweep_command, *options, "--out", tmp_path / "none")
    assert outcome.exit_code == 2
    assert len(outcome.error) == 1
    assert complaint in outcome.error[0]
    assert not (tmp_path / "none").exists()


@pytest.mark.slow
def test_with_overwrite_all_points_are_made_again(compress, sweep_command, copied):
    (copied / "mine.txt").write_text("not the sweep's")
    options = ("--targets", "0.6", "--seed", "3", "--overwrite")
    outcome = compress(*sweep_command, *options, "--out", copied, "--json", "--quiet")
    assert outcome.exit_code == 0, outcome.stderr
    assert [path.name for path in (copied / "points").iterdir()] == ["0.6"]
    assert (copied / "mine.txt").exists()
    assert json.loads(outcome.stdout)["settings"]["seed"] == 3


@pytest.mark.slow
def test_points_only_leaves_no_report(compress, sweep_command, tmp_path):
    outcome = compress(*sweep_command, "--targets", "0.6", "--points-only", "--out", tmp_path / "s", "--quiet")
    assert outcome.exit_code == 0, outcome.stderr
    assert (tmp_path / "s" / "points" / "0.6" / "report.json").exists()
    assert not (tmp_path / "s" / "sweep.json").exists()


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_sweep_that_was_stopped_goes_on_and_ends_the_same(swept, sweep_command, environment, tmp_path, number):
    command = [sys.executable, "-m", "compressor", *map(str, sweep_command), *TARGETS, "--out", str(tmp_path / "s")]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=environment)
    lines = list(itertools.takewhile(lambda line: "Recovering" not in line, process.stderr))
    assert "--target-macs 0.6\n" in lines
    process.send_signal(number)
    _, words = process.communicate()
    assert process.returncode == (-9 if number == signal.SIGKILL else 143), words
    if number == signal.SIGTERM:
        kept = f"no point finished in {tmp_path / 's'}; the same command goes on"
        assert words.splitlines()[-1].endswith(kept), words
    again = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    assert "Fine-tuning with the penalty: finished before, not repeated" in again.stderr
    assert hashes(tmp_path / "s") == hashes(swept[0])


@pytest.mark.slow
def test_two_processes_make_the_same_networks(swept, sweep_command, environment, tmp_path):
    options = [*TARGETS, "--workers", "2", "--json", "--out", str(tmp_path / "s")]
    command = [sys.executable, "-m", "compressor", *map(str, sweep_command), *options]
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    assert hashes(tmp_path / "s") == hashes(swept[0])
    assert len(json.loads(done.stdout)["networks"]) == 3
    assert done.stderr.count("Fine-tuning") == 1, "the other process took no point"


@pytest.mark.slow
def test_a_worker_ends_with_the_process_that_started_it(sweep_command, environment, tmp_path):
    options = [*TARGETS, "--epochs", "400", "--workers", "2", "--out", str(tmp_path / "s")]
    command = [sys.executable, "-m", "compressor", *map(str, sweep_command), *options]
    silent = subprocess.DEVNULL
    process = subprocess.Popen(command, env=environment, stdout=silent, stderr=silent, start_new_session=True)
    deadline = time.monotonic() + 60
    while len(list(tmp_path.glob("s/points/*/run.json"))) < 2 and time.monotonic() < deadline:
        time.sleep(0.1)
    process.kill()
    process.wait()
    deadline = time.monotonic() + 20
    while alive(process.pid) and time.monotonic() < deadline:
        time.sleep(0.1)
    if alive(process.pid):
        os.killpg(process.pid, signal.SIGKILL)
        pytest.fail("a worker is left behind")


def alive(session):
    try:
        os.killpg(session, 0)
    except ProcessLookupError:
        return False
    return True
