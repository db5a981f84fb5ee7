"""Options come from the command line as text, or from a program as numbers."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from compressor.cli.list import KINDS
from compressor.errors import UnknownName, UsageError
from compressor.penalties import GROUP_PENALTIES, PENALTIES, group_penalty, penalty


@pytest.mark.parametrize(
    ("name", "options", "expected"),
    [
        ("lp", {"p": "2/3"}, {"p": 2 / 3}),
        ("lp", {"p": "0.5"}, {"p": 0.5}),
        ("lp", {"p": 1 / 2}, {"p": 0.5}),
        ("scad", {"a": "3.7"}, {"a": 3.7}),
        ("mcp", {"a": 2}, {"a": 2.0}),
        ("transformed-l1", {"a": "1e-2"}, {"a": 0.01}),
        ("l1-l2", {"alpha": "1/4", "over": "channel"}, {"alpha": 0.25, "over": "channel"}),
    ],
)
def test_options_may_be_text_or_numbers(name, options, expected):
    built = penalty(name, **options)
    assert {option: getattr(built, option) for option in expected} == expected


def test_options_of_a_group_penalty_are_those_of_its_norm_penalty():
    assert group_penalty("lp", p="2/3").phi == penalty("lp", p="2/3")


def test_numbers_become_floats():
    built: Any = penalty("mcp", a=2)
    assert type(built.a) is float


@pytest.mark.parametrize("junk", ["x", "", "1/0", "1/", "/2", "1/2/3", "1,5", [3], None])
def test_junk_is_refused(junk):
    with pytest.raises(UsageError) as caught:
        penalty("scad", a=junk)
    assert str(caught.value) == f"a of scad must be a number, got {junk!r}"


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        *[("l1-l2", {"alpha": bad}, f"alpha of l1-l2 must be in [0, 1], got {bad}") for bad in (-0.1, 1.1)],
        ("l1-l2", {"alpha": "nan"}, "alpha of l1-l2 must be in [0, 1], got nan"),
        ("l1-l2", {"over": "rows"}, "over of l1-l2 must be tensor or channel, got rows"),
        ("l1-l2", {"over": 1}, "over of l1-l2 must be tensor or channel, got 1"),
        *[("lp", {"p": bad}, f"p of lp must be 1/2 or 2/3, got {bad}") for bad in (0.0, 0.4, 0.667, 1.0)],
        ("lp", {"p": "nan"}, "p of lp must be 1/2 or 2/3, got nan"),
        *[("mcp", {"a": bad}, f"a of mcp must be above 1 and below 1e30, got {bad}") for bad in (-3.0, 1.0)],
        *[("mcp", {"a": bad}, f"a of mcp must be above 1 and below 1e30, got {bad}") for bad in ("inf", "nan")],
        *[("scad", {"a": bad}, f"a of scad must be above 2 and below 1e30, got {bad}") for bad in (0.0, 2.0)],
        *[("scad", {"a": bad}, f"a of scad must be above 2 and below 1e30, got {bad}") for bad in ("inf", "nan")],
        *[("transformed-l1", {"a": bad}, f"a of transformed-l1 must be positive and below 1e30, got {bad}")
          for bad in (0.0, -1.0, "nan", "inf")],
    ],
)  # fmt: skip
def test_value_outside_its_domain_is_refused_with_what_is_allowed(name, options, message):
    with pytest.raises(UsageError) as caught:
        penalty(name, **options)
    assert str(caught.value) == message


@pytest.mark.parametrize("bad", [-0.1, 1.1, "nan"])
def test_cges_needs_a_share(bad):
    with pytest.raises(UsageError) as caught:
        group_penalty("cges", mu=bad)
    assert str(caught.value) == f"mu of cges must be in [0, 1], got {bad}"


@pytest.mark.parametrize("name", sorted(PENALTIES))
def test_unknown_option_is_refused_with_those_there_are(name):
    with pytest.raises(UsageError, match=f"^penalty '{name}' has no option 'nonsense'; it takes "):
        penalty(name, nonsense=1.0)


@pytest.mark.parametrize("name", sorted(GROUP_PENALTIES))
def test_unknown_option_of_a_group_penalty_is_refused_with_those_there_are(name):
    with pytest.raises(UsageError, match=f"^group penalty '{name}' has no option 'phi'; it takes "):
        group_penalty(name, phi=1.0)


def test_unknown_penalty_suggests_the_nearest():
    with pytest.raises(UnknownName, match=r"no penalty is called 'l1-l3'. Did you mean 'l1-l2'"):
        penalty("l1-l3")


def test_unknown_group_penalty_suggests_the_nearest():
    with pytest.raises(UnknownName, match=r"no group penalty is called 'laso'. Did you mean 'lasso'"):
        group_penalty("laso")


def test_registries_are_read_without_torch():
    program = "import compressor.penalties, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


@pytest.mark.parametrize(
    ("on", "registry", "build"),
    [("weights", PENALTIES, penalty), ("channels", GROUP_PENALTIES, group_penalty)],
    ids=["weights", "channels"],
)
def test_list_shows_defaults_that_are_allowed_of_every_penalty(on, registry, build):
    listed = {row["name"]: row["parameters"] for row in KINDS["penalties"]() if row["on"] == on}
    assert set(listed) - {"none"} == set(registry)
    for name in registry:
        assert build(name, **listed[name]) == build(name)


def test_list_says_what_is_allowed_of_every_parameter():
    for row in json.loads(json.dumps(KINDS["penalties"]())):
        assert set(row["allowed"]) == set(row["parameters"])
        assert all(row["allowed"].values())
        assert row["what it does"]
