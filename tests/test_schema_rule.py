"""Documents keep their version while changes only add; docs/reference/documents.md states the rule."""

import copy
import json
from pathlib import Path

import pytest
from schema_rule import breaking

from compressor.codec import encode, schema
from compressor.records import SCHEMA_VERSION

PUBLISHED = sorted((Path(__file__).parent.parent / "docs" / "schemas").glob("report-*.json"))
FIRST = 2


def now():
    return json.loads(encode(schema()))


def test_every_version_is_published() -> None:
    assert [path.name for path in PUBLISHED] == [f"report-{n}.json" for n in range(FIRST, SCHEMA_VERSION + 1)]


def test_what_is_written_today_is_of_the_published_version() -> None:
    # Where this fails: raise SCHEMA_VERSION, convert older documents in the codec, publish docs/schemas/report-N.json.
    assert breaking(json.loads(PUBLISHED[-1].read_text()), now()) == []


def changed(change):
    new = copy.deepcopy(now())
    change(new["$defs"])
    return breaking(now(), new)


def field(name, kind):
    return lambda defs: defs["Metric"]["properties"].__setitem__(name, kind)


@pytest.mark.parametrize(
    "change",
    [
        field("extra", {"type": "string", "default": ""}),
        field("n", {"anyOf": [{"type": "integer"}, {"type": "string"}, {"type": "null"}]}),
        field("direction", {"enum": ["higher", "lower", "nearer"], "default": "higher"}),
        lambda defs: defs.__setitem__("Another", {"type": "object", "properties": {}}),
        lambda defs: defs["Metric"]["required"].remove("n"),
        lambda defs: defs["Metric"].__setitem__("description", "Other words."),
        lambda defs: defs["StageRow"]["properties"].__setitem__("macs", {"type": "number"}),
    ],
)
def test_what_adds_keeps_the_version(change) -> None:
    assert changed(change) == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda defs: defs["Metric"]["properties"].pop("n"), "Metric.n is gone"),
        (lambda defs: defs["Metric"]["required"].append("unit"), "Metric.unit is required now"),
        (field("value", {"type": "string"}), "Metric.value takes less than before"),
        (field("n", {"type": "integer"}), "Metric.n takes less than before"),
        (field("direction", {"enum": ["higher"]}), "Metric.direction takes less than before"),
        (lambda defs: defs.pop("Outcomes"), "Outcomes is gone"),
        (
            lambda defs: defs["RunReport"]["properties"]["stages"].__setitem__("items", {"$ref": "#/$defs/Metric"}),
            "RunReport.stages takes less than before",
        ),
        (
            lambda defs: defs["BenchmarkSettings"]["properties"]["batches"]["items"].__setitem__("type", "string"),
            "BenchmarkSettings.batches takes less than before",
        ),
    ],
)
def test_what_takes_away_needs_a_new_version(change, said) -> None:
    assert changed(change) == [said]


def test_a_kind_of_document_that_is_gone_needs_a_new_version() -> None:
    new = now()
    new["anyOf"] = new["anyOf"][1:]
    assert breaking(now(), new) == ["#/$defs/RunReport is no document any more"]
