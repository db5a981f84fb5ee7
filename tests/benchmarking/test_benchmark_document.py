import json
from dataclasses import dataclass, replace

import pytest
from compressor.benchmarking.decoding import decode
from compressor.benchmarking.document import Benchmark

from compressor.errors import CompressorError


@dataclass(frozen=True)
class Leaf:
    size: int
    share: float | None


@dataclass(frozen=True)
class Tree:
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


def test_plain_data_becomes_records():
    assert decode(Tree, GOOD, "tree") == Tree("oak", (0.0, 1.5), (Leaf(1, None), Leaf(2, 0.5)), {"a": "b"}, True)


@pytest.mark.parametrize(
    ("key", "value", "complaint"),
    [
        ("name", 3, "tree.name must be a string, got 3"),
        ("ends", [1.0], r"tree.ends must be a list of 2, got \[1.0\]"),
        ("ends", "ab", "tree.ends must be a list, got 'ab'"),
        ("ends", [0.0, float("nan")], r"tree.ends\[1\] must be a finite number, got nan"),
        ("leaves", [{"size": True, "share": 1.0}], r"tree.leaves\[0\].size must be a whole number, got True"),
        (
            "leaves",
            [{"size": 1, "share": False}],
            r"tree.leaves\[0\].share must be a finite number, got False",
        ),
        ("leaves", [{"size": 1}], r"tree.leaves\[0\] lacks share"),
        ("leaves", ["x"], r"tree.leaves\[0\] must be an object, got 'x'"),
        ("notes", {"a": 1}, "tree.notes.a must be a string, got 1"),
        ("notes", [], r"tree.notes must be an object, got \[\]"),
        ("green", 1, "tree.green must be true or false, got 1"),
        ("height", 1, "tree has unknown height"),
    ],
)
def test_what_does_not_fit_is_named_with_its_place(key, value, complaint):
    with pytest.raises(CompressorError, match=complaint):
        decode(Tree, GOOD | {key: value}, "tree")


def test_long_values_are_shown_short():
    with pytest.raises(CompressorError) as caught:
        decode(Tree, GOOD | {"name": [0] * 1000}, "tree")
    assert len(str(caught.value)) < 150


def test_a_document_survives_json(measured):
    assert Benchmark.from_plain(json.loads(json.dumps(measured.to_plain()))) == measured


def test_unknown_values_survive_json(measured):
    (first, *rest) = measured.variants
    bare = replace(measured, variants=(replace(first, memory=None, macs=None, exporter=None), *rest))
    assert Benchmark.from_plain(json.loads(json.dumps(bare.to_plain()))) == bare


def test_a_document_names_its_schema_and_its_writer(measured):
    plain = measured.to_plain()
    assert (plain["schema_version"], plain["kind"], plain["tool"]["name"]) == (1, "benchmark", "compressor")


@pytest.mark.parametrize(
    ("plain", "complaint"),
    [
        ([], "its kind must be 'benchmark', got 'list'"),
        ({"kind": "run"}, "its kind must be 'benchmark', got 'run'"),
        ({"kind": "benchmark", "schema_version": 2}, "cannot read schema_version 2 .* only 1"),
        ({"kind": "benchmark", "schema_version": 1}, "malformed document: benchmark lacks started"),
    ],
)
def test_other_documents_are_refused(plain, complaint):
    with pytest.raises(CompressorError, match=complaint):
        Benchmark.from_plain(plain)


def test_a_verdict_of_another_word_is_refused(measured):
    plain = measured.to_plain()
    plain["comparisons"][0]["verdict"] = "better"
    with pytest.raises(CompressorError, match=r"comparisons\[0\].verdict must be 'faster' or 'slower' or"):
        Benchmark.from_plain(plain)
