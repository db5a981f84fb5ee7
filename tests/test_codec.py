from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec import Struct

from compressor.codec import decode, decode_report, encode, read_report, schema, write_report
from compressor.errors import CompressorError
from compressor.records import Metric, Record, benchmark, run, stages
from compressor.records.run import RunReport

FIXTURES = Path(__file__).parent / "report" / "fixtures"
PUBLISHED = Path(__file__).parent.parent / "docs" / "report.schema.json"


class Leaf(Struct, frozen=True):
    size: int
    share: float | None


class Tree(Struct, frozen=True):
    name: str
    ends: tuple[float, float]
    leaves: tuple[Leaf, ...]
    notes: dict[str, str]
    green: bool


GOOD = {
    "name": "oak",
    "ends": [0, 1.5],
    "leaves": [{"size": 1, "share": None}, {"size": 2, "share": 0.5}],
    "notes": {"a": "b"},
    "green": True,
}


def test_json_becomes_records() -> None:
    tree = Tree("oak", (0.0, 1.5), (Leaf(1, None), Leaf(2, 0.5)), {"a": "b"}, True)
    assert decode(json.dumps(GOOD).encode(), Tree, "tree.json") == tree
    assert decode(encode(tree), Tree, "tree.json") == tree


@pytest.mark.parametrize(
    ("key", "value", "complaint"),
    [
        ("name", 3, "name must be text, got 3"),
        ("ends", [1.0], r"ends must be a list of length 2, got \[1.0\]"),
        ("ends", "ab", "ends must be a list, got 'ab'"),
        ("leaves", [{"size": True, "share": 1.0}], r"leaves\[0\].size must be a whole number, got True"),
        ("leaves", [{"size": 1, "share": False}], r"leaves\[0\].share must be a number or null, got False"),
        ("leaves", [{"size": 1}], r"leaves\[0\].share is missing"),
        ("leaves", ["x"], r"leaves\[0\] must be an object, got 'x'"),
        ("notes", {"a": 1}, r"notes\[...\] must be text, got {'a': 1}"),
        ("notes", [], r"notes must be an object, got \[\]"),
        ("green", 1, "green must be true or false, got 1"),
    ],
)
def test_what_does_not_fit_is_named_with_its_place_and_value(key: str, value: Any, complaint: str) -> None:
    with pytest.raises(CompressorError, match=rf"^tree\.json is damaged: {complaint}$"):
        decode(json.dumps(GOOD | {key: value}).encode(), Tree, "tree.json")


def test_a_field_of_a_newer_version_is_ignored() -> None:
    assert decode(json.dumps(GOOD | {"height": 1}).encode(), Tree, "tree.json").name == "oak"


def test_long_values_are_shown_short_and_without_control_characters() -> None:
    with pytest.raises(CompressorError) as caught:
        decode(json.dumps(GOOD | {"name": ["\x1b[2J\x9b"] * 1000}).encode(), Tree, "tree.json")
    assert len(str(caught.value)) < 150
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "is not JSON"),
        (b"{", "is not JSON"),
        (b'{"name": "\xff"}', "is not JSON"),
        (b"[" * 100_000, "is not JSON"),
        (b'{"name": NaN}', "is not JSON"),
        (b'{"name": -Infinity}', "is not JSON"),
        (b'{"name": 1e400}', "is not JSON"),
        (b'{"name": 1' + b"0" * 400 + b"}", "holds a number of 1329 bits, too large for any figure"),
        (b'{"name": 1' + b"0" * 100_000 + b"}", "is not JSON|holds a number"),
        (b'{"name": 1e101}', "holds the number 1e\\+101, too large for any figure"),
        (b'{"name": -1.7e308}', "holds the number -1.7e\\+308, too large for any figure"),
        (b'{"name": "\\ud800"}', "is not JSON"),
        (b"[" + b"0," * 20_000 + b"0]", "holds a list of 20001 entries, more than 20000"),
        (b"[" * 60 + b"]" * 60, "holds more than 50 nested levels"),
        (b"[" * 900 + b"]" * 900, "holds more than 50 nested levels"),
    ],
)
def test_what_no_record_can_hold_is_refused_in_one_line(content: bytes, complaint: str) -> None:
    with pytest.raises(CompressorError, match=rf"^tree\.json ({complaint})") as caught:
        decode(content, Tree, "tree.json")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 150


def test_numbers_that_are_not_finite_become_null() -> None:
    assert json.loads(encode(Leaf(1, math.nan))) == {"size": 1, "share": None}
    assert json.loads(encode({"share": math.inf})) == {"share": None}


def test_every_record_is_frozen_and_says_what_it_is() -> None:
    values = [value for module in (benchmark, run, stages) for value in vars(module).values()]
    kinds = {value for value in values if isinstance(value, type) and issubclass(value, Record)}
    assert len(kinds) > 30
    assert all(kind.__struct_config__.frozen and kind.__doc__ for kind in kinds)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[1]", "is not a run or benchmark document"),
        ('{"name": "package.json"}', "is not a run or benchmark document"),
        ('{"kind": ["run"]}', "is not a run or benchmark document"),
        ('{"kind": "run", "schema_version": 3}', "schema version 3, newer than the 2 known here; upgrade"),
        ('{"kind": "run"}', "is not a whole run document: schema_version is missing"),
        (
            '{"kind": "run", "schema_version": "2"}',
            "is not a whole run document: schema_version must be a whole number, got '2'",
        ),
        ('{"kind": "run", "schema_version": 2}', "is not a whole run document: started is missing"),
        ('{"kind": "run", "schema_version": 1, "stages": 3, "training": [4]}', "is not a whole run document: "),
        ('{"kind": "benchmark", "schema_version": 2, "started": 1}', "not a whole benchmark document: started must be"),
    ],
)
def test_a_file_that_is_no_report_is_refused_in_one_line(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "r.json").write_text(content)
    with pytest.raises(CompressorError) as caught:
        read_report(tmp_path / "r.json")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_endless_kind_is_shown_short() -> None:
    plain = version_1("run")
    plain["benchmark"]["kind"] = "benchmark" * 1000
    with pytest.raises(CompressorError, match=r"benchmark\.kind is none of the values known") as caught:
        decode_report(json.dumps(plain).encode(), "r.json")
    assert len(str(caught.value)) < 200


def test_a_report_that_is_no_regular_file_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo.json")
    for path in (tmp_path / "fifo.json", Path("/dev/zero"), tmp_path):
        with pytest.raises(CompressorError, match="it is no regular file but a folder, FIFO, socket or device"):
            read_report(path)


def test_a_report_of_any_size_is_refused_before_it_is_read(tmp_path: Path) -> None:
    with (tmp_path / "r.json").open("wb") as file:
        file.truncate(2**40)
    with pytest.raises(CompressorError, match=r"r\.json needs .* --max-memory allows more"):
        read_report(tmp_path / "r.json")


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(CompressorError, match=r"gone\.json cannot be read: No such file"):
        read_report(tmp_path / "gone.json")


def version_1(kind: str) -> dict[str, Any]:
    plain: dict[str, Any] = json.loads((FIXTURES / f"{kind}_version_1.json").read_text())
    return plain


@pytest.mark.parametrize("kind", ["run", "benchmark"])
def test_a_report_of_version_1_is_read_and_written_as_version_2(tmp_path: Path, kind: str) -> None:
    report = read_report(FIXTURES / f"{kind}_version_1.json")
    write_report(tmp_path / "r.json", report)
    assert json.loads((tmp_path / "r.json").read_text())["schema_version"] == 2
    assert msgspec.structs.replace(read_report(tmp_path / "r.json"), schema_version=1) == msgspec.structs.replace(
        report, schema_version=1
    )


def test_the_accuracies_of_version_1_are_metrics_now() -> None:
    plain, report = version_1("run"), read_report(FIXTURES / "run_version_1.json")
    assert isinstance(report, RunReport)
    assert [stage.metric for stage in report.stages] == [
        Metric(value=row["accuracy"]["value"], n=row["accuracy"]["n"], ci95=tuple(row["accuracy"]["ci95"]))
        for row in plain["stages"]
    ]
    shares = [row["val_accuracy"] for row in plain["training"]]
    assert [epoch.validation and epoch.validation.value for epoch in report.training] == shares


def test_a_stage_of_version_1_without_its_accuracy_is_refused() -> None:
    plain = version_1("run")
    del plain["stages"][0]["accuracy"]
    with pytest.raises(CompressorError, match=r"stages\[0\]\.metric is missing"):
        decode_report(json.dumps(plain).encode(), "r.json")


def test_a_run_has_a_dense_network(tmp_path: Path) -> None:
    plain = version_1("run") | {"stages": []}
    with pytest.raises(CompressorError, match="stages must hold at least the dense network"):
        decode_report(json.dumps(plain).encode(), "r.json")


def test_nothing_is_written_that_could_not_be_read_again(tmp_path: Path) -> None:
    report = read_report(FIXTURES / "run_version_1.json")
    (first, *others) = report.stages  # type: ignore[union-attr]
    spoilt = msgspec.structs.replace(first, metric=Metric(value=math.nan, n=3))
    with pytest.raises(CompressorError, match=r"stages\[0\]\.metric\.value must be a number, got None"):
        write_report(tmp_path / "r.json", msgspec.structs.replace(report, stages=(spoilt, *others)))
    assert not list(tmp_path.iterdir())


def test_the_published_schema_is_that_of_the_records() -> None:
    # After a change of the records, write `encode(schema())` to the file.
    assert json.loads(PUBLISHED.read_text()) == json.loads(encode(schema()))
