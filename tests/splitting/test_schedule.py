from __future__ import annotations

import pytest

from compressor.errors import UsageError
from compressor.splitting.schedule import Schedule

STEPS = (1, 2, 3, 5, 10, 11, 99, 100, 1001)
every_length = pytest.mark.parametrize("total", STEPS)


@every_length
def test_beta_grows_from_its_start_to_its_end(total):
    schedule = Schedule(total_steps=total, beta_start=2.0, beta_end=50.0)
    assert schedule.beta(0) == 2.0
    assert schedule.beta(total) == pytest.approx(50.0)


def test_beta_grows_by_the_same_factor_every_step():
    schedule = Schedule(total_steps=3, beta_start=1, beta_end=1000)
    assert [schedule.beta(step) for step in range(4)] == pytest.approx([1, 10, 100, 1000])


def test_beta_stays_at_its_end():
    assert Schedule(total_steps=10, beta_start=1, beta_end=8).beta(25) == pytest.approx(8)


def test_the_budget_falls_in_a_straight_line_until_half_time():
    schedule = Schedule(total_steps=8)
    assert [schedule.budget(step, 0.2) for step in (0, 2, 4, 6, 8)] == pytest.approx([1, 0.6, 0.2, 0.2, 0.2])


@every_length
def test_the_last_revision_is_at_the_full_target(total):
    schedule = Schedule(total_steps=total)
    last = max(step for step in range(total + 1) if schedule.revises(step))
    assert schedule.budget(last, 0.3) == pytest.approx(0.3)


@every_length
def test_the_first_step_revises(total):
    assert Schedule(total_steps=total).revises(0)


@every_length
def test_nothing_is_revised_in_the_second_half(total):
    schedule = Schedule(total_steps=total)
    assert not any(schedule.revises(step) for step in range((total + 1) // 2 + 1, total + 1))


def test_long_trainings_revise_only_now_and_then():
    schedule = Schedule(total_steps=10_000)
    assert 20 <= sum(schedule.revises(step) for step in range(10_000)) <= 30


@pytest.mark.parametrize("total", [0, -1])
def test_no_steps_are_refused(total):
    with pytest.raises(UsageError, match=f"total_steps must be at least 1, got {total}"):
        Schedule(total_steps=total)
