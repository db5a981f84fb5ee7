from __future__ import annotations

import shlex

import pytest
import report_documents as documents
from msgspec.structs import replace

from compressor.records import Metric
from compressor.records.run import Gate, RunReport, Target
from compressor.report.again import command_of
from compressor.report.html import report_html
from compressor.report.markdown import report_markdown
from compressor.report.shipping import Shipping, shipping_lines, shipping_of


def shipped(run: RunReport) -> Shipping:
    found = shipping_of(run)
    assert found is not None
    return found


def steps(run: RunReport) -> dict[str, str]:
    return {step.why: step.command for step in shipped(run).steps}


def test_the_files_are_named_and_those_on_the_way_are_not_to_ship() -> None:
    products = shipped(documents.run()).products
    assert [(one.file, one.ship) for one in products] == [
        ("small.onnx", True),
        ("recovered.pt", True),
        ("dense.pt", False),
        ("sparse.pt", False),
        ("shrunk.pt", False),
    ]
    lines = shipping_lines(documents.run())
    assert lines[0] == "Ship small.onnx."
    assert "  not to ship: dense.pt, sparse.pt, shrunk.pt" in lines


GATE = Gate(name="max-drop", limit=0.5, holds=False, measured="too much")
MISSED = Target(kind="size", asked=2_000_000.0, reached=2_500_000.0, met=False)


@pytest.mark.parametrize(
    ("run", "advice", "tone"),
    [
        (documents.run(), "Ship small.onnx.", "good"),
        (documents.run("same"), "Ship small.onnx if it is for its size, since it is not shown to be faster.", "open"),
        (
            documents.with_final(documents.run(), documents.accuracy(0.93)),
            "Ship small.onnx if a change of −5.33 points (−7.04 to −3.62) is acceptable.",
            "open",
        ),
        (documents.run(gates=(GATE,)), "Do not ship small.onnx yet: gate --max-drop 0.5 failed.", "bad"),
        (
            documents.run(targets=(MISSED,)),
            "Do not ship small.onnx yet: the target of 2.00 MB was missed.",
            "bad",
        ),
        (
            documents.with_final(documents.run(), Metric(value=0.98, n=360)),
            "Ship small.onnx if what was not measured does not matter.",
            "open",
        ),
    ],
)
def test_the_advice_is_honest(run: RunReport, advice: str, tone: str) -> None:
    assert (shipped(run).advice, shipped(run).tone) == (advice, tone)
    assert advice in " ".join(report_html(run).replace("\u00a0", " ").split())
    assert advice.split(" (")[0] in report_markdown(run)


def test_the_next_step_is_to_measure_where_it_will_run() -> None:
    assert steps(documents.run()) == {
        "To know its speed where it will run, measure it there": (
            "compress benchmark runs/digits/dense.onnx runs/digits/small.onnx --out there.json"
        ),
        "To check the file itself": "compress evaluate runs/digits/small.onnx",
    }


def test_lost_accuracy_asks_for_more_epochs_into_another_folder() -> None:
    command = steps(documents.with_final(documents.run(), documents.accuracy(0.93)))[
        "To win back accuracy, train longer"
    ]
    assert command == (
        "compress run digits-resnet --penalty l1-l2 --target-macs 0.5 --epochs 24 --out runs/digits-longer"
    )


def test_an_open_verdict_asks_for_a_longer_measurement() -> None:
    command = steps(documents.run("inconclusive"))["To decide whether it is faster, measure longer on an idle machine"]
    assert command == "compress benchmark runs/digits/dense.onnx runs/digits/small.onnx --max-seconds 300"


def test_a_missed_target_asks_for_what_can_be_reached() -> None:
    missed = Target(kind="macs", asked=0.4, reached=0.498, met=False)
    command = steps(documents.run(target=missed))["To ask for what can be reached"]
    assert command == "compress run digits-resnet --penalty l1-l2 --target-macs 0.5 --out runs/digits-again"


def test_a_failed_speed_gate_asks_for_less() -> None:
    slow = Gate(name="min-speedup", limit=3.0, holds=False, measured="too slow")
    command = steps(documents.run(gates=(slow,)))["To become faster, keep less"]
    assert "--target-macs 0.38 --out runs/digits-smaller" in command


@pytest.mark.parametrize(
    ("text", "out"),
    [
        ("compress run m.pt", "runs/m"),
        ("compress run m.pt --out x", "x"),
        ("compress run m.pt --out=x --seed 1", "x"),
        ("compress run --out 'a b' m.pt", "a b"),
        ("compress run --seed 1 m.pt", None),
        ("compress run", None),
        ("compress fine-tune m.pt", None),
        ("rm -rf /", None),
        ("compress run 'm", None),
        ("compress run 'm\x1b[2J' --out x", None),
        ("", None),
    ],
)
def test_only_a_run_is_given_again(text: str, out: str | None) -> None:
    command = command_of(text)
    assert (command.out if command else None) == out


@pytest.mark.parametrize("name", ["a; rm -rf ~", "$(reboot)", "`id`", "a' b", "x && y", "--out=/etc"])
def test_a_command_that_is_copied_runs_nothing_else(name: str) -> None:
    command = shlex.join(["compress", "run", name, "--out", name])
    for text in steps(documents.run(command=command)).values():
        words = shlex.split(text)
        assert words[0] == "compress"
        assert not {";", "&&", "rm"} & set(words)
        assert any(name in word for word in words) or name.startswith("--out")


def test_a_run_of_an_older_version_names_no_files() -> None:
    run = documents.run()
    old = replace(run, stages=tuple(replace(stage, file="") for stage in run.stages))
    assert shipping_of(old) is None
    assert shipping_lines(old) == []
    assert "What it is" not in report_html(old)


def test_a_benchmark_ships_nothing() -> None:
    assert shipping_of(documents.benchmark()) is None


@pytest.mark.parametrize("epochs", [None, "x" * 3000, 1e99, -3, 10**30, True])
def test_settings_that_are_no_count_are_no_epochs(epochs: object) -> None:
    run = documents.with_final(documents.run(settings={"epochs": epochs}), documents.accuracy(0.93))
    assert "To win back accuracy, train longer" not in steps(run) or epochs is True
