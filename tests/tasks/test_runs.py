"""Networks that are no image classifiers, with the user's task and batches, through whole commands."""

from __future__ import annotations

import json

import pytest
from projects import KINDS

QUICK = ("--epochs", 2, "--max-seconds", 0.3, "--quiet")
METRICS = {
    "unet": ("mean IoU", "higher", True),
    "lstm": ("perplexity", "lower", True),
    "mlp": ("RMSE", "lower", True),
    "detector": ("AP50", "higher", False),
}


@pytest.fixture(scope="module")
def ran(project, compress, tmp_path_factory):
    """The folder of a run of a kind, and its report."""
    made = {}

    def run(name):
        if name not in made:
            one, folder = project(name), tmp_path_factory.mktemp("runs") / name
            outcome = compress("run", one.checkpoint, *one.options, *QUICK, "--trials", 2, "--out", folder, "--json")
            assert outcome.exit_code == 0, outcome.stderr
            made[name] = folder, json.loads(outcome.stdout)
        return made[name]

    return run


# One is run every time; the others take as long.
RUNS = [name if name == "detector" else pytest.param(name, marks=pytest.mark.slow) for name in KINDS]


@pytest.mark.parametrize("name", RUNS)
def test_a_run_speaks_of_the_tasks_metric(ran, name):
    folder, report = ran(name)
    title, direction, has_interval = METRICS[name]
    metrics = [row["metric"] for row in report["stages"]]
    assert {(metric["name"], metric["direction"]) for metric in metrics} == {(title, direction)}
    assert all((metric["ci95"] is not None) == has_interval for metric in metrics)
    assert report["stages"][-1]["macs"] <= 0.5 * report["stages"][0]["macs"]
    assert report["benchmark"]["comparisons"][0]["ratio"] > 0
    page = (folder / "report.html").read_text()
    assert title in page
    assert "accuracy" not in page.lower().replace("pixel accuracy", "")


@pytest.mark.parametrize("name", RUNS)
def test_the_file_has_the_metric_of_the_network(ran, project, compress, name):
    folder, report = ran(name)
    one = project(name)
    options = ("--data", one.data, "--task", one.task, "--json", "--quiet")
    found = json.loads(compress("evaluate", folder / "small.onnx", *options).stdout)
    assert found["metric"]["value"] == pytest.approx(report["stages"][-1]["metric"]["value"], rel=1e-4)
    again = compress("evaluate", folder / "recovered.pt", "--trust-arch", *options)
    value = json.loads(again.stdout)["metric"]["value"]
    assert value == pytest.approx(report["stages"][-1]["metric"]["value"], rel=1e-4)


@pytest.mark.slow
def test_a_finished_run_is_not_repeated(ran, project, compress):
    folder, report = ran("mlp")
    one = project("mlp")
    again = compress("run", one.checkpoint, *one.options, *QUICK, "--trials", 2, "--out", folder, "--json")
    assert json.loads(again.stdout)["stages"] == report["stages"]


def test_a_network_learns_its_task(project, compress, tmp_path):
    one = project("unet")
    out = tmp_path / "trained.pt"
    tuned = compress(
        "fine-tune", one.checkpoint, *one.options, "--epochs", 4, "--lr", 0.1, "--out", out, "--json", "-q"
    )
    record = json.loads(tuned.stdout)
    assert record["trained"]["value"] > record["before"]["value"] + 0.2
    assert [epoch["validation"]["name"] for epoch in record["epochs"]] == ["mean IoU"] * 4


@pytest.mark.parametrize("name", ["detector", "lstm", "unet"])
def test_a_teacher_is_matched_by_the_tasks_own_rule(project, compress, tmp_path, name):
    one = project(name)
    both = ("--teacher", one.checkpoint, "--epochs", 1, "--quiet", "--json")
    alone, taught = (
        json.loads(compress("recover", one.checkpoint, *one.options, *both, "--teacher-share", share,
                            "--out", tmp_path / f"{share}.pt").stdout)
        for share in (0, 1)
    )  # fmt: skip
    # The network begins at its teacher: there is nothing to learn from that, but noise of BatchNorm and of rounding.
    assert taught["epochs"][0]["loss"] < 0.3 * alone["epochs"][0]["loss"]


@pytest.mark.slow
def test_a_search_goes_by_the_metric_in_its_unit(project, compress, tmp_path):
    one = project("mlp")
    outcome = compress("run", one.checkpoint, *one.options, *QUICK, "--target-drop", 0.5, "--max-probes", 2,
                       "--out", tmp_path / "search")  # fmt: skip
    assert outcome.exit_code == 0, outcome.stderr
    report = json.loads((tmp_path / "search" / "report.json").read_text())
    target = next(target for target in report["targets"] if target["kind"] == "drop")
    assert (target["unit"], target["met"], len(target["ci95"])) == ("RMSE", True, 2)
    assert "in RMSE, on the same samples" in " ".join((tmp_path / "search" / "report.html").read_text().split())


@pytest.mark.slow
def test_a_metric_without_an_interval_is_searched_by_its_value(project, compress, tmp_path):
    one = project("detector")
    outcome = compress("run", one.checkpoint, *one.options, *QUICK, "--target-drop", 100, "--max-probes", 1,
                       "--out", tmp_path / "search")  # fmt: skip
    assert outcome.exit_code == 0, outcome.stderr
    assert "its interval is not known" in outcome.stderr
    assert json.loads((tmp_path / "search" / "report.json").read_text())["targets"][0]["ci95"] is None


@pytest.mark.slow
def test_a_sweep_charts_the_metric(project, compress, tmp_path):
    one = project("mlp")
    outcome = compress(
        "sweep", one.checkpoint, *one.options, *QUICK, "--targets", "0.8,0.5", "--out", tmp_path / "sweep"
    )
    assert outcome.exit_code == 0, outcome.stderr
    assert "RMSE" in outcome.stdout
    assert "points" not in outcome.stdout.replace("points/", "")
    report = json.loads((tmp_path / "sweep" / "sweep.json").read_text())
    assert all(one["change_ci95"] for one in report["networks"][1:])


@pytest.mark.parametrize("name", KINDS)
def test_pruning_needs_no_task(project, compress, tmp_path, name):
    one = project(name)
    task = () if name in {"unet", "mlp"} else ("--task", one.task)
    asked = ("--data", one.data, *task, "--target-macs", 0.6, "--trials", 2, "--samples", 32)
    out = tmp_path / "small.pt"
    pruned = compress("prune", one.checkpoint, "--trust-arch", *asked, "--out", out, "--json", "--quiet")
    assert pruned.exit_code == 0, pruned.stderr
    record = json.loads(pruned.stdout)
    assert (record["dense"] is None) == (not task)
    assert record["macs"][1] <= 0.6 * record["macs"][0]
    assert record["fits"]
    assert record["fitted"]["change"] < record["removed"]["change"]


def test_people_read_what_pruning_changed_without_a_task(project, compress, tmp_path):
    one = project("mlp")
    pruned = compress("prune", one.checkpoint, "--trust-arch", "--data", one.data, "--target-macs", 0.6,
                      "--out", tmp_path / "small.pt", "--quiet")  # fmt: skip
    assert "Change: of the outputs, relative to their size." in pruned.stdout
    assert "same class" not in pruned.stdout
