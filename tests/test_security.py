"""Every promise in SECURITY.md names the tests that would fail without it, and they exist."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
PROMISES = re.findall(r"^\| (?!promise|---)(.+?) \| (.+) \|$", TEXT, re.MULTILINE)
NAMED = re.compile(r"`(tests/[\w/]+\.py)(?:::(\w+))?`")


@cache
def named_in(file):
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")}


def test_the_table_is_read():
    assert len(PROMISES) >= 15


@pytest.mark.parametrize(("promise", "tests"), PROMISES, ids=[promise for promise, _ in PROMISES])
def test_every_promise_has_a_test_that_exists(promise, tests):
    named = NAMED.findall(tests)
    assert named, f"no test is named for: {promise}"
    for file, test in named:
        assert (ROOT / file).exists(), f"{file} does not exist"
        assert named_in(file), f"{file} holds no test"
        assert not test or test in named_in(file), f"{file} has no {test}"
