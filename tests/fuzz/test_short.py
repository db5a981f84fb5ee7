"""A short campaign on every run of the tests; the long ones are ``make fuzz`` and ``make kills``."""

import pytest

from fuzz import short, trials
from fuzz.kinds import KINDS
from fuzz.processes import made_bases, side_by_side

LONG = {"kills": 40, "disks": 9, "races": 10}


def test_nothing_lost_nothing_run_nothing_hangs(tmp_path):
    [found] = side_by_side("short", [[tmp_path]])
    assert found["cases"] == short.CASES + len(short.REGRESSIONS)
    assert found["kinds"] == sorted(KINDS)
    assert not found["files"]
    assert {kind: found[kind] for kind in trials.TRIALS} == {kind: [] for kind in trials.TRIALS}


@pytest.mark.slow
@pytest.mark.parametrize("kind", [*trials.TRIALS])
def test_many(kind, tmp_path):
    made_bases(tmp_path / "bases")
    ends, broken = trials.run(kind, 2, count=LONG[kind], seed=1, root=tmp_path)
    assert not broken
    assert sum(ends.values()) >= LONG[kind]
