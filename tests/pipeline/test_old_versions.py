"""Run folders of the first version: finished ones are read, others are refused with one line.

The fixture is what remained of ``compress run curves_cnn --target-macs 0.6 --epochs 2 --max-train 512
--max-seconds 0.5 --seed 1`` of that version, without its larger files.
"""

import json
import shutil
from functools import cache, partial
from pathlib import Path

import pytest

from compressor.checkpoints import load
from compressor.codec import read_report
from compressor.data.curves import Curves
from compressor.stages import STAGES

OLD = Path(__file__).parent / "fixtures" / "run_version_1"
COMMAND = ("curves_cnn", "--epochs", 2, "--max-train", 512, "--max-seconds", 0.5, "--seed", 1)
BEGUN = "Error: old holds a run begun by an older version; choose another --out, or pass --overwrite to start it again"


@pytest.fixture(autouse=True, scope="module")
def _drawn_once():
    """The data of these runs take seconds to draw."""
    with pytest.MonkeyPatch.context() as patch:
        read = cache(partial(Curves.read, Curves()))
        patch.setattr(Curves, "read", lambda self, *place: read(*place))
        yield


@pytest.fixture
def old():
    return Path(shutil.copytree(OLD, "old"))


@pytest.fixture
def run(compress):
    return lambda *args: compress("run", *COMMAND, "--target-macs", 0.6, "--out", "old", *args)


def test_a_finished_run_prints_its_report(old, run):
    done = run()
    assert done.exit_code == 0, done.stderr
    assert "Accuracy 99.60 % 50.00 % −49.60 points" in " ".join(done.stdout.split())
    assert done.stderr.count("finished before, not repeated") == len(STAGES)


def test_its_report_is_renewed(old, run):
    before = json.loads((old / "report.json").read_text())
    run()
    report = read_report(old / "report.json")
    assert report.schema_version == 2
    assert [row.metric.value for row in report.stages] == [row["accuracy"]["value"] for row in before["stages"]]
    assert (old / "report.html").exists()


@pytest.mark.usefixtures("old")
def test_other_settings_are_refused_and_listed(run):
    done = run("--batch-size", 32)
    assert done.exit_code == 2
    assert "batch_size was 64 and is now 32" in done.error[0]


@pytest.mark.parametrize("stage", [stage.name for stage in STAGES])
def test_a_half_finished_run_is_refused_with_what_to_do(old, run, stage):
    (old / "stages" / f"{stage}.json").unlink()
    done = run()
    assert (done.exit_code, done.error) == (2, [BEGUN])


def test_so_is_one_whose_report_is_lost(old, run):
    (old / "report.json").unlink()
    assert run().error == [BEGUN]


def test_a_run_of_a_newer_version_is_refused(old, run):
    settings = json.loads((old / "run.json").read_text())
    (old / "run.json").write_text(json.dumps({**settings, "compressor": 99}))
    assert run().error == ["Error: old holds a run begun by a newer version; upgrade, or choose another --out"]


def test_its_checkpoint_loads_and_does_what_was_reported(old, compress):
    assert [stage["stage"] for stage in load(old / "small.pt").metadata.history][-2:] == ["fine-tune", "shrink"]
    reported = json.loads((old / "stages/shrink.json").read_text())["accuracy"]
    measured = json.loads(compress("evaluate", old / "small.pt", "--json").stdout)["metric"]
    assert {key: measured[key] for key in reported} == reported
