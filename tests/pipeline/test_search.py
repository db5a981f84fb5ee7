"""The search for the smallest network within a drop, on the tiny network."""

import hashlib
import json
import shutil

import pytest

from compressor.codec import read_report
from compressor.errors import UsageError
from compressor.pipeline.search_plan import SearchPlan, require_samples
from compressor.report.paired import Pairs
from compressor.stages import STAGES

QUICK = ("--epochs", "2", "--max-seconds", "0.3", "--lr", "0.1", "--batch-size", "32", "--seed", "1")


@pytest.fixture(scope="module")
def search_command(tiny):
    return ("run", tiny.checkpoint, "--arch", tiny.arch, *QUICK)


@pytest.fixture(scope="module")
def searched(compress, search_command, tmp_path_factory):
    """The folder of a search in which every drop is allowed, and what the command did."""
    folder = tmp_path_factory.mktemp("searches") / "searched"
    options = ("--target-drop", "100", "--max-probes", "2", "--out", folder)
    outcome = compress(*search_command, *options, "--json", "--quiet")
    assert outcome.exit_code == 0, outcome.stderr
    return folder, outcome


@pytest.fixture
def report(searched):
    return read_report(searched[0] / "report.json")


def probe(searched, name):
    return read_report(searched[0] / "search" / name / "report.json")


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_smaller_and_smaller_networks_are_tried_while_they_fit(report):
    assert [(probe.asked, probe.start) for probe in report.probes] == [(0.5, ""), (0.25, "search/0.5")]
    assert [probe.chosen for probe in report.probes] == [False, True]
    assert report.probes[0].macs > report.probes[1].macs


def test_the_target_is_the_drop_with_its_interval(report):
    target = report.target
    assert (target.kind, target.asked, target.met) == ("drop", 100.0, True)
    assert target.ci95[0] <= target.reached <= target.ci95[1]
    assert [one.kind for one in report.targets] == ["drop"]


def test_a_probe_is_measured_on_the_validation_part(report):
    assert {probe.drop.n for probe in report.probes} == {19}
    assert report.stages[0].metric.n == 48


def test_the_folder_holds_the_files_of_the_chosen_network(searched):
    folder = searched[0]
    names = [name for stage in STAGES for name in stage.files if (folder / "search" / "0.25" / name).exists()]
    assert "small.onnx" in names
    assert all(digest(folder / name) == digest(folder / "search" / "0.25" / name) for name in names)


def test_shares_and_layers_of_a_later_probe_are_those_of_the_dense_network(searched):
    first, second = probe(searched, "0.5"), probe(searched, "0.25")
    assert second.target.asked == 0.25
    assert second.target.met
    assert second.target.reached == pytest.approx(second.stages[-1].macs / first.stages[0].macs)
    assert [layer.before for layer in second.layers] == [layer.before for layer in first.layers]
    assert sum(layer.macs_after for layer in second.layers) == second.stages[-1].macs
    assert second.removal.float64 <= 1e-9
    assert second.stages[0] == first.stages[0]
    assert digest(searched[0] / "search/0.5/dense.onnx") == digest(searched[0] / "search/0.25/dense.onnx")


def test_the_document_and_the_page_are_those_of_a_run(searched):
    assert json.loads(searched[1].stdout) == json.loads((searched[0] / "report.json").read_text())
    assert "search/0.25" in (searched[0] / "report.html").read_text()
    assert "search/0.25" in (searched[0] / "report.md").read_text()


def test_the_same_command_repeats_nothing(compress, search_command, searched, tmp_path):
    folder = shutil.copytree(searched[0], tmp_path / "copy")
    options = ("--target-drop", "100", "--max-probes", "2", "--out", folder)
    outcome = compress(*search_command, *options)
    assert outcome.exit_code == 0, outcome.stderr
    assert outcome.stderr.count("Fine-tuning with the penalty: finished before, not repeated") == 2
    assert "yes, chosen" in outcome.stdout
    assert read_report(folder / "report.json").probes == read_report(searched[0] / "report.json").probes


def test_other_settings_are_refused(compress, search_command, searched):
    outcome = compress(*search_command, "--target-drop", "7", "--out", searched[0])
    assert outcome.exit_code == 2
    assert "holds a search with other settings (target_drop was 100.0 and is now 7.0)" in outcome.error[0]


def test_a_folder_of_something_else_is_refused(compress, search_command, finished):
    outcome = compress(*search_command, "--target-drop", "7", "--out", finished[0])
    assert outcome.exit_code == 2
    assert "exists and does not hold a search" in outcome.error[0]


def test_what_no_network_reaches_is_said_with_what_was(compress, search_command, searched, tmp_path, monkeypatch):
    folder = shutil.copytree(searched[0], tmp_path / "copy")
    settings = json.loads((folder / "search.json").read_text())
    (folder / "search.json").write_text(json.dumps({**settings, "target_drop": 6.0}))
    monkeypatch.setattr("compressor.pipeline.probes.pairs_of", lambda dense, small: Pairs(3, 0, 19))
    outcome = compress(*search_command, "--target-drop", "6", "--max-probes", "1", "--quiet", "--out", folder)
    assert outcome.exit_code == 1
    assert outcome.error == [
        "Error: no network within a drop of 6 points was found: the nearest, of --target-macs 0.5, loses 15.79 points "
        "(-3.68 to 37.57 with 95 % confidence, on 19 validation samples); more --epochs recover more; the result is "
        f"kept in {folder}"
    ]
    report = read_report(folder / "report.json")
    assert not report.target.met
    assert [probe.within for probe in report.probes] == [False]
    assert digest(folder / "small.onnx") == digest(folder / "search" / "0.5" / "small.onnx")


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (("--target-drop", "-1"), "--target-drop must be a number of points of at least 0, got -1"),
        (("--target-drop", "1", "--max-probes", "0"), "--max-probes must be at least 1, got 0"),
        (("--max-probes", "3"), "--max-probes 3 needs a --target-drop; else there is one run"),
        (
            ("--target-drop", "1"),
            "a drop of 1 points cannot be seen on the validation part: it has 19 samples, of which one is 5.26 points; "
            "at least 100 are needed: a larger --val-fraction, or a larger --target-drop",
        ),
    ],
)
def test_wrong_usage_is_one_line(compress, search_command, tmp_path, options, complaint):
    outcome = compress(*search_command, *options, "--out", tmp_path / "none")
    assert outcome.exit_code == 2
    assert outcome.error == [f"Error: {complaint}"]
    assert not (tmp_path / "none").exists()


def test_samples_that_tell_a_drop_only_by_luck_are_named() -> None:
    assert require_samples(10_000, 0.5) == []
    assert require_samples(5, 0) == []
    (doubt,) = require_samples(359, 0.5)
    assert "may differ by 1.06 points" in doubt
    assert "takes 765 samples or more" in doubt
    with pytest.raises(UsageError, match="it has 0 samples; at least 200 are needed"):
        require_samples(0, 0.5)


def plan(finished, **options):
    return SearchPlan(run=finished, kind="macs", drop=1.0, probes=9, **{"limit": None, **options})


@pytest.mark.parametrize(
    ("limit", "smallest", "tried"),
    [
        (None, 0.3, [0.5, 0.25, 0.375, 0.3125, 0.28125]),
        (None, 0.8, [0.5, 0.75, 0.875, 0.8125, 0.78125]),
        (None, 2.0, [0.5, 0.75, 0.875, 0.9375, 0.96875]),
        (0.4, 0.3, [0.4, 0.2, 0.3, 0.25, 0.275, 0.2875]),
        (0.4, 0.5, [0.4]),
    ],
)
def test_what_is_left_is_halved(limit, smallest, tried):
    asked = []
    for target in plan(None, limit=limit).targets(lambda target: target >= smallest):
        asked.append(pytest.approx(target))
    assert asked == tried
