from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import report_documents as documents
from msgspec.structs import replace

from compressor.codec import encode, read_report, write_report
from compressor.errors import CompressorError
from compressor.records.run import Report
from compressor.report.side_by_side import environments_differ


@pytest.mark.parametrize("report", [documents.run(), documents.benchmark(), documents.missed_target()])
def test_a_written_report_reads_back_equal(tmp_path: Path, report: Report) -> None:
    write_report(tmp_path / "report.json", report)
    assert read_report(tmp_path / "report.json") == report


def test_a_loss_that_is_not_a_number_is_written_as_null(tmp_path: Path) -> None:
    run = documents.run()
    write_report(tmp_path / "run.json", replace(run, training=documents.with_first(run.training, loss=math.nan)))
    assert json.loads((tmp_path / "run.json").read_text())["training"][0]["loss"] is None


def test_bytes_that_are_not_text_are_refused(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(CompressorError, match="is not JSON"):
        read_report(tmp_path / "model.onnx")


@pytest.mark.parametrize(
    ("keys", "value", "message"),
    [
        (("stages", 2, "macs"), "many", r"stages\[2\]\.macs must be a whole number, got 'many'"),
        (("stages", 0, "parameters"), True, r"stages\[0\]\.parameters must be a whole number, got True"),
        (("stages",), [], "stages must hold at least the dense network"),
        (("stages",), {}, r"stages must be a list, got \{\}"),
        (("benchmark",), 3, "benchmark must be an object or null, got 3"),
        (("benchmark", "comparisons", 0, "ci95"), [0.5], r"ci95 must be a list of length 2, got \[0.5\]"),
        (("benchmark", "comparisons", 0, "verdict"), "great", "verdict is none of the values known, got 'great'"),
        (("target", "met"), "yes", "target.met must be true or false, got 'yes'"),
        (("command",), None, "command must be text, got None"),
        (("command",), list(range(50)), r"command must be text, got \[0, 1, .*\.\.\."),
    ],
)
def test_the_first_wrong_value_is_named(tmp_path: Path, keys: tuple[Any, ...], value: Any, message: str) -> None:
    document = json.loads(encode(documents.run()))
    place: Any = document
    for key in keys[:-1]:
        place = place[key]
    place[keys[-1]] = value
    (tmp_path / "run.json").write_text(json.dumps(document))
    with pytest.raises(CompressorError, match=message):
        read_report(tmp_path / "run.json")


def test_equal_environments_give_no_sentence() -> None:
    assert environments_differ([documents.run(), documents.benchmark()]) == []


@pytest.mark.parametrize(
    ("fact", "value", "words"),
    [
        ("cpu_model", "Intel Xeon", "processor"),
        ("onnxruntime", "1.20.0", "onnxruntime version"),
        ("affinity", [0], "processors it may use: 4 | 1"),
        ("virtualised", False, "virtualisation: yes | no"),
        ("governor", "performance", "frequency governor: unknown | performance"),
        ("flags", ["avx2", "fma"], "Only some of the processors have avx512_vnni, avx512f."),
    ],
)
def test_each_differing_fact_is_a_sentence(fact: str, value: Any, words: str) -> None:
    (sentence,) = environments_differ([documents.run(), documents.benchmark(**{fact: value})])
    assert words in sentence


def test_different_threads_are_a_difference() -> None:
    other = documents.benchmark()
    other = replace(other, settings=replace(other.settings, threads=4))
    assert environments_differ([documents.benchmark(), other]) == ["The measurements differ in threads: 1 | 4."]


def test_a_run_without_benchmark_has_no_environment_to_differ() -> None:
    assert environments_differ([documents.run(benchmark=None), documents.benchmark()]) == []
