"""The GitHub Action: its steps are run as a runner runs them, with a workflow's inputs and files."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parent.parent
ACTION = yaml.safe_load((ROOT / "action.yml").read_text())
STEPS = {step["name"]: step for step in ACTION["runs"]["steps"]}
HARMFUL = "\"; touch harmed; $(touch harmed) `touch harmed` ' %0a"


def filled(text, given, outputs):
    """What the runner makes of ``${{ inputs.NAME }}`` and the outputs of the step before."""

    def value(found):
        kind, name = re.fullmatch(r"(inputs|steps\.judge\.outputs)\.([\w-]+)", found[1].strip()).groups()
        return given[name] if kind == "inputs" else outputs[name]

    return re.sub(r"\$\{\{(.*?)\}\}", value, text)


class Runner:
    """Runs the steps named, in a folder of its own; their outputs and the job's summary are kept."""

    def __init__(self, folder):
        self.folder, self.outputs = folder, {}
        self.summary, self.file = folder / "summary.md", folder / "outputs"

    def run(self, name, **inputs):
        given = {key: known["default"] for key, known in ACTION["inputs"].items()}
        given |= {"python": sys.executable, **{key.replace("_", "-"): value for key, value in inputs.items()}}
        step = STEPS[name]
        environment = {key: filled(value, given, self.outputs) for key, value in step["env"].items()}
        known = {
            **os.environ,
            "GITHUB_ACTION_PATH": str(ROOT),
            "GITHUB_OUTPUT": str(self.file),
            "GITHUB_STEP_SUMMARY": str(self.summary),
            "OMP_NUM_THREADS": "1",
            "PYTHONPATH": str(ROOT),
        }
        script = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]]
        done = subprocess.run(script, cwd=self.folder, env=known | environment, capture_output=True, text=True)
        if self.file.exists():
            self.outputs |= dict(line.split("=", 1) for line in self.file.read_text().splitlines())
        return done

    def judge(self, **inputs):
        done = self.run("Compress and judge", **inputs)
        return done, self.run("Verdict").returncode


@pytest.fixture
def runner(tmp_path):
    return Runner(tmp_path)


def test_inputs_are_no_part_of_any_script():
    scripts = [step["run"] for step in STEPS.values() if "run" in step]
    assert len(scripts) == 4
    assert not any("${{" in script for script in scripts)


def test_every_input_is_explained_and_used():
    used = set(re.findall(r"inputs\.([\w-]+)", (ROOT / "action.yml").read_text()))
    assert used == {*ACTION["inputs"]}
    assert all(known["description"].endswith(".") or "`" in known["description"] for known in ACTION["inputs"].values())


def test_a_report_is_compared_with_the_baseline(runner, finished):
    report = str(finished[0] / "report.json")
    done, verdict = runner.judge(report=report, baseline=report, max_drop="5")
    assert (verdict, runner.outputs["code"]) == (0, "0"), done.stderr
    assert "Gate --max-drop 5 holds" in done.stdout
    assert runner.summary.read_text() == Path(runner.folder, runner.outputs["page"]).read_text()
    assert runner.outputs["report"] == report


def test_a_gate_that_fails_fails_the_job_with_its_report(runner, finished):
    report = str(finished[0] / "report.json")
    done, verdict = runner.judge(report=report, baseline=report, min_speedup="1000")
    assert done.returncode == 0, "the upload would be skipped"
    assert verdict == 1
    assert "1000x is required" in done.stderr
    assert "1000x is required" in runner.summary.read_text()


def test_without_anything_to_do_the_job_fails(runner):
    done, verdict = runner.judge()
    assert verdict == 2
    assert done.stdout.startswith("::error::give a model")


@pytest.mark.parametrize("place", ["model", "options", "baseline", "report", "max_drop", "out"])
def test_text_of_inputs_is_never_run(runner, finished, place):
    report = str(finished[0] / "report.json")
    inputs = {"model": "", "report": report, "baseline": report, place: HARMFUL}
    if place == "options":
        inputs |= {"model": "none.pt", "options": "'$(touch harmed)' `touch harmed` ; touch harmed"}
    _, verdict = runner.judge(**inputs)
    assert verdict in {0, 1, 2}
    assert list(runner.folder.rglob("harmed")) == []


@pytest.mark.slow
def test_a_network_is_compressed_and_held_to_its_limits(runner, tiny):
    options = f"--arch '{tiny.arch}' --epochs 2 --max-seconds 0.5 --lr 0.1 --batch-size 32 --seed 1"
    done, verdict = runner.judge(model=str(tiny.checkpoint), options=options, max_drop="99")
    assert verdict == 0, done.stderr
    assert (runner.folder / "compress-report" / "run" / "small.onnx").exists()
    assert "**Stages**" in runner.summary.read_text()


def test_the_page_becomes_a_comment(runner, tmp_path):
    gh = tmp_path / "bin" / "gh"
    gh.parent.mkdir()
    gh.write_text('#!/bin/sh\nprintf "%s\\n" "$@" > asked\n')
    gh.chmod(0o755)
    step = STEPS["Comment on the pull request"]
    assert set(step["env"]) == {"GH_TOKEN", "GH_REPO", "NUMBER", "PAGE"}
    known = {**os.environ, "PATH": f"{gh.parent}:{os.environ['PATH']}", "NUMBER": "7", "PAGE": "a page.md"}
    subprocess.run(["bash", "-euo", "pipefail", "-c", step["run"]], cwd=tmp_path, env=known, check=True)
    assert (tmp_path / "asked").read_text().split("\n") == ["pr", "comment", "7", "--body-file", "a page.md", ""]
