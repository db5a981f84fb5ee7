from __future__ import annotations

import inspect
import sys

import pytest

from compressor import errors
from compressor.architectures import ARCHITECTURES
from compressor.data import DATASETS
from compressor.errors import CompressorError, UnknownName, UsageError
from compressor.penalties import GROUP_PENALTIES, PENALTIES
from compressor.registry import resolve, summary
from compressor.sources import SOURCES

EVERY_ENTRY = [
    (kind, name, table)
    for kind, table in {
        "architecture": ARCHITECTURES,
        "data set": DATASETS,
        "penalty": PENALTIES,
        "group penalty": GROUP_PENALTIES,
        "source": SOURCES,
    }.items()
    for name in table
]
SHOWN = [thing for thing in vars(errors).values() if inspect.isclass(thing) and issubclass(thing, Exception)]
EVERY_ERROR = [thing for thing in SHOWN if not issubclass(thing, Warning)]


@pytest.mark.parametrize(("kind", "name", "table"), EVERY_ENTRY, ids=str)
def test_every_entry_of_every_registry_resolves_to_something_documented(kind, name, table):
    found = resolve(kind, table, name)
    assert callable(found)
    assert summary(found)


@pytest.mark.parametrize("table", [ARCHITECTURES, DATASETS, PENALTIES, GROUP_PENALTIES, SOURCES])
def test_entries_of_a_registry_are_text(table):
    assert all(isinstance(home, str) and home.count(":") == 1 for home in table.values())


def test_resolve_imports_only_the_entry_that_is_asked_for(monkeypatch):
    monkeypatch.delitem(sys.modules, "wave", raising=False)
    table = {"one": "string:capwords", "other": "wave:open"}
    assert resolve("thing", table, "one")("a b") == "A B"
    assert "wave" not in sys.modules


def test_unknown_name_suggests_the_nearest_and_lists_all():
    with pytest.raises(UnknownName) as caught:
        resolve("penalty", {"mcp": "", "l1": "", "scad": ""}, "scda")
    assert str(caught.value) == "no penalty is called 'scda'. Did you mean 'scad'? Known: l1, mcp, scad."


def test_unknown_name_near_to_nothing_suggests_nothing():
    with pytest.raises(UnknownName, match=r"^no penalty is called 'zzz'\. Known: l1\.$"):
        resolve("penalty", {"l1": ""}, "zzz")


def test_unknown_name_keeps_what_was_asked_for():
    error = UnknownName("penalty", "zzz", ["l1"])
    assert (error.kind, error.name) == ("penalty", "zzz")


def test_summary_is_the_first_line_without_its_full_stop():
    def thing():
        """Says one thing.

        And more.
        """

    assert summary(thing) == "Says one thing"


@pytest.mark.parametrize("error", EVERY_ERROR)
def test_every_error_descends_from_one_base(error):
    assert issubclass(error, CompressorError)


@pytest.mark.parametrize("error", SHOWN)
def test_every_error_is_in_the_tree_that_the_module_shows(error):
    assert f"{error.__name__} " in (errors.__doc__ or "")


def test_unknown_name_is_a_usage_error_and_a_value_error():
    assert UnknownName.__mro__[:2] == (UnknownName, UsageError)
    assert issubclass(UsageError, ValueError)


@pytest.mark.parametrize("error", [e for e in EVERY_ERROR if not issubclass(e, UsageError)])
def test_only_wrong_usage_is_a_value_error(error):
    assert not issubclass(error, ValueError)
