from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import report_documents as documents

from compressor import benchmarking
from compressor.errors import CompressorError
from compressor.report import environments_differ, read_document, write_document
from compressor.report.documents import SCHEMA_VERSION


@pytest.mark.parametrize("document", [documents.run(), documents.benchmark(), documents.missed_target()])
def test_a_written_document_reads_back_equal(tmp_path: Path, document: dict[str, Any]) -> None:
    write_document(tmp_path / "report.json", document)
    assert read_document(tmp_path / "report.json") == document


def test_the_benchmark_writes_what_the_report_reads(tmp_path: Path) -> None:
    written = benchmarking.Benchmark.from_plain(documents.benchmark()).to_plain()
    write_document(tmp_path / "benchmark.json", written)
    assert read_document(tmp_path / "benchmark.json") == documents.benchmark()


def test_both_kinds_of_document_share_one_schema_version() -> None:
    assert benchmarking.SCHEMA_VERSION == SCHEMA_VERSION


def test_a_loss_that_is_not_a_number_is_written_as_null(tmp_path: Path) -> None:
    document = documents.run()
    document["training"][0]["loss"] = math.nan
    write_document(tmp_path / "run.json", document)
    assert read_document(tmp_path / "run.json")["training"][0]["loss"] is None


def test_nothing_is_written_when_the_document_is_not_whole(tmp_path: Path) -> None:
    document = documents.run()
    del document["stages"]
    with pytest.raises(CompressorError, match="stages is missing"):
        write_document(tmp_path / "run.json", document)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is not JSON"),
        ("[" * 100_000, "is not JSON"),
        ('{"kind": "run", "gap": NaN}', "NaN is no JSON number"),
        ("[1]", "is not a run or benchmark document"),
        ('{"name": "package.json"}', "is not a run or benchmark document"),
        ('{"kind": ["run"]}', "is not a run or benchmark document"),
        ('{"kind": "run", "schema_version": 2}', "schema version 2, newer than the 1 known here"),
        ('{"kind": "run"}', "is not a whole run document: schema_version is missing"),
    ],
)
def test_a_file_that_is_not_ours_is_refused_in_one_line(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "report.json"
    path.write_text(content)
    with pytest.raises(CompressorError, match=message) as caught:
        read_document(path)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(CompressorError, match=r"cannot read .*absent\.json: No such file"):
        read_document(tmp_path / "absent.json")


def test_bytes_that_are_not_text_are_refused(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(CompressorError, match="is not JSON"):
        read_document(tmp_path / "model.onnx")


@pytest.mark.parametrize(
    ("keys", "value", "message"),
    [
        (("stages", 2, "macs"), "many", r"stages\[2\]\.macs must be a number, got 'many'"),
        (("stages", 0, "parameters"), True, r"stages\[0\]\.parameters must be a whole number, got True"),
        (("stages",), [], "stages must hold at least the dense network"),
        (("stages",), {}, r"stages must be a list, got \{\}"),
        (("benchmark",), 3, "benchmark must be an object, got 3"),
        (("benchmark", "comparisons", 0, "ci95"), [0.5], r"ci95 must be \[low, high\], got \[0.5\]"),
        (("benchmark", "comparisons", 0, "verdict"), "great", "must be one of .*, got 'great'"),
        (("target", "met"), "yes", "target.met must be true or false, got 'yes'"),
        (("command",), None, "command must be text, got None"),
        (("command",), list(range(50)), r"command must be text, got \[0, 1, .*\.\.\."),
    ],
)
def test_the_first_wrong_value_is_named(tmp_path: Path, keys: tuple[Any, ...], value: Any, message: str) -> None:
    document = documents.run()
    place: Any = document
    for key in keys[:-1]:
        place = place[key]
    place[keys[-1]] = value
    (tmp_path / "run.json").write_text(json.dumps(document))
    with pytest.raises(CompressorError, match=message):
        read_document(tmp_path / "run.json")


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
    other["settings"]["threads"] = 4
    assert environments_differ([documents.benchmark(), other]) == ["The measurements differ in threads: 1 | 4."]


def test_a_run_without_benchmark_has_no_environment_to_differ() -> None:
    assert environments_differ([{**documents.run(), "benchmark": None}, documents.benchmark()]) == []
