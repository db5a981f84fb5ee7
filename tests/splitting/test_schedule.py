from __future__ import annotations

from math import inf

import pytest

from compressor.errors import UsageError
from compressor.splitting.schedule import Schedule, implicit_share, prox_step

STEPS = (1, 2, 3, 4, 5, 7, 9, 10, 11, 99, 100, 1001)
every_length = pytest.mark.parametrize("total", STEPS)


@every_length
def test_beta_grows_from_its_start_until_the_gap_is_closed(total):
    schedule = Schedule(total_steps=total, beta_start=2.0, beta_end=50.0)
    betas = [schedule.beta(step) for step in range(schedule.closing_step)]
    assert betas[0] == 2.0
    assert betas == sorted(betas)
    assert betas[-1] < 50
    assert schedule.beta(schedule.closing_step) == inf


def test_beta_grows_by_the_same_factor_every_step():
    schedule = Schedule(total_steps=3, beta_start=1, beta_end=1000)
    assert [schedule.beta(step) for step in range(4)] == pytest.approx([1, 10, 100, inf])


@every_length
def test_the_gap_is_closed_by_a_pull_in_the_last_tenth(total):
    schedule = Schedule(total_steps=total)
    assert 0.9 * total <= schedule.closing_step <= total
    assert schedule.span(schedule.closing_step) > 0
    assert [schedule.closed(step) for step in (schedule.closing_step - 1, schedule.closing_step)] == [False, True]


@every_length
def test_the_pulls_stand_for_the_whole_training_and_the_last_step_is_one(total):
    schedule = Schedule(total_steps=total)
    spans = [schedule.span(step) for step in range(1, total + 1)]
    assert sum(spans) == pytest.approx(1)
    assert spans[-1] > 0
    assert schedule.span(0) == 0


@pytest.mark.parametrize(("span", "beta"), [(0.1, 3.0), (0.5, 1e6), (1e-4, 1.0)])
def test_an_implicit_step_minimises_over_w_and_v_at_once(span, beta):
    """For r(v) = |v|, checked on a grid: lam |v| + beta/2 (w - v)^2 + (w - w0)^2 / (2 span)."""
    lam, start = 0.7, 0.4
    step = prox_step(span, beta, lam)
    v = max(start - step, 0.0)
    w = start + implicit_share(span, beta) * (v - start)

    def cost(w, v):
        return lam * abs(v) + beta / 2 * (w - v) ** 2 + (w - start) ** 2 / (2 * span)

    near = [1e-3 * k for k in range(-20, 21)]
    assert all(cost(w, v) <= cost(w + a, max(v + b, 0.0)) + 1e-12 for a in near for b in near)


def test_an_infinite_beta_is_a_proximal_gradient_step():
    assert (implicit_share(0.1, inf), prox_step(0.1, inf, 3.0)) == (1.0, pytest.approx(0.3))


def test_the_budget_falls_in_a_straight_line_until_half_time():
    schedule = Schedule(total_steps=8)
    assert [schedule.budget(step, 0.2) for step in (0, 2, 4, 6, 8)] == pytest.approx([1, 0.6, 0.2, 0.2, 0.2])


def test_the_zeros_rise_fast_at_first_and_are_all_there_at_half_time():
    schedule = Schedule(total_steps=8)
    assert [schedule.zeros(step, 0.8) for step in (0, 2, 4, 8)] == pytest.approx([0, 0.7, 0.8, 0.8])


@every_length
def test_the_last_revision_is_at_the_full_target(total):
    schedule = Schedule(total_steps=total)
    last = max(step for step in range(total + 1) if schedule.revises(step))
    assert last == schedule.last_revision
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
