"""What the gates answer, held or not."""

from __future__ import annotations

import numpy as np
import pytest
import report_documents as documents
from msgspec.structs import replace

from compressor.errors import UsageError
from compressor.records import Metric, Outcomes
from compressor.records.run import Gate, RunReport
from compressor.report.drops import drop_gate
from compressor.report.gates import check_gates, check_run, failures
from compressor.report.html import comparison_html, report_html
from compressor.report.markdown import comparison_markdown, report_markdown


def on_same_samples(n: int, lost: int, won: int, accuracy: float = 0.95) -> tuple[Metric, Metric]:
    """Of two networks on ``n`` samples, of which the first alone is right on ``lost``, the second on ``won``."""
    old = np.arange(n) < round(accuracy * n)
    new = old.copy()
    new[:lost] = False
    new[n - won :] = True
    outcomes = (Outcomes(samples="ab", right=np.packbits(bits).tobytes()) for bits in (old, new))
    return tuple(  # type: ignore[return-value]
        Metric(value=bits.mean(), n=n, ci95=(bits.mean() - 0.02, bits.mean() + 0.02), outcomes=known)
        for bits, known in zip((old, new), outcomes, strict=True)
    )


def final(metric: Metric, sha256: str) -> RunReport:
    """A run that ends with ``metric``, of a file with that hash."""
    run = documents.with_final(documents.run(), metric)
    assert run.benchmark is not None
    dense, small = run.benchmark.variants
    return replace(run, benchmark=replace(run.benchmark, variants=(dense, replace(small, sha256=sha256))))


@pytest.mark.parametrize(
    ("n", "each", "holds", "words"),
    [
        (359, 1, False, "of which 2 are right in only one of the two, a drop of up to 1.31"),
        (10_000, 25, True, "of which 50 are right in only one of the two, a drop of up to 0.14"),
        (50_000, 125, True, "of which 250 are right in only one of the two, a drop of up to 0.06"),
        (10_000, 250, True, "of which 500 are right in only one of the two, a drop of up to 0.44"),
        (5_000, 125, False, "of which 250 are right in only one of the two, a drop of up to 0.62"),
    ],
)
def test_the_answer_depends_on_how_many_samples_differ(n: int, each: int, holds: bool, words: str) -> None:
    gate = drop_gate(*on_same_samples(n, each, each), 0.5, same=False)
    assert gate.holds is holds
    assert f"accuracy changed by ±0.00 points, {'and' if holds else 'but'} with the same {n:,} samples" in gate.measured
    assert words in gate.measured


def test_a_gate_says_how_many_samples_it_needs() -> None:
    gate = drop_gate(*on_same_samples(359, 1, 1), 0.5, same=False)
    assert gate.measured.endswith("; 0.5 is allowed; to show that much takes about 1,302 samples")


def test_a_gate_says_when_more_samples_will_not_help() -> None:
    gate = drop_gate(*on_same_samples(359, 4, 0), 0.5, same=False)
    assert gate.measured.endswith("; more samples will not help, because what was measured is not below that")


def test_the_same_network_passes_by_identity() -> None:
    (metric, _) = on_same_samples(359, 0, 0)
    (gate,) = check_gates(final(metric, "a" * 64), final(metric, "a" * 64), max_drop=0.0, min_speedup=None)
    assert gate.holds
    assert gate.measured == "accuracy is that of the same network, byte for byte: no change; 0 is allowed"
    (gate,) = check_gates(final(metric, "a" * 64), final(metric, "b" * 64), max_drop=0.5, min_speedup=None)
    assert not gate.holds


def test_a_network_with_other_outcomes_is_not_the_same() -> None:
    old, new = on_same_samples(359, 1, 1)
    (gate,) = check_gates(final(old, "a" * 64), final(new, "a" * 64), max_drop=0.5, min_speedup=None)
    assert not gate.holds


def test_other_samples_are_independent_and_said_to_be() -> None:
    old, new = on_same_samples(359, 0, 0)
    other = replace(new, outcomes=Outcomes(samples="cd", right=new.outcomes.right if new.outcomes else b""))
    gate = drop_gate(old, other, 5.0, same=False)
    assert gate.holds
    assert "with 359 samples, taken as independent because they differ, a drop of up to 2.83" in gate.measured


@pytest.mark.parametrize("huge", [1.7e308, -1.7e308])
def test_figures_beyond_all_bounds_hold_no_gate(huge: float) -> None:
    old = Metric(value=huge, n=9, ci95=(-1.7e308, 1.7e308))
    assert not drop_gate(old, replace(old, value=-huge), 5.0, same=False).holds


def test_a_negative_limit_asks_for_a_better_network() -> None:
    assert drop_gate(*on_same_samples(10_000, 0, 200), -1.0, same=False).holds
    assert not drop_gate(*on_same_samples(10_000, 0, 100), -1.0, same=False).holds


@pytest.mark.parametrize("factor", [0.0, -1.2])
def test_a_speed_up_that_every_network_has_is_no_gate(factor: float) -> None:
    with pytest.raises(UsageError, match=r"^--min-speedup must be a factor above 0, for example 1.2, got"):
        check_gates(documents.run(), documents.run(), max_drop=None, min_speedup=factor)


def test_a_run_is_held_against_its_own_dense_network() -> None:
    dense, small = on_same_samples(10_000, 25, 25)
    run = documents.with_final(documents.run(), small)
    run = replace(run, stages=documents.with_first(run.stages, metric=dense))
    gates = check_run(run, max_drop=0.5, min_speedup=1.2)
    assert [(gate.name, gate.holds) for gate in gates] == [
        ("max-drop", True),
        ("min-speedup", True),
        ("min-speedup", True),
    ]
    assert len(failures(check_run(run, max_drop=0.1, min_speedup=1.88))) == 3


def test_a_run_without_a_metric_cannot_be_held_to_a_drop() -> None:
    (gate,) = check_run(documents.without_metrics(documents.run()), max_drop=1.0, min_speedup=None)
    assert gate.measured == "max-drop 1 cannot be checked: the dense network has no accuracy interval"


def test_reports_show_their_gates() -> None:
    gates = (
        Gate(name="max-drop", limit=0.5, holds=True, measured="a drop of up to 0.14"),
        Gate(name="min-speedup", limit=1.2, holds=False, measured="1.10x <b>"),
    )
    run, labelled = replace(documents.run(), gates=gates), [("a", documents.run()), ("b", documents.run())]
    for page in (report_html(run), comparison_html(labelled, gates)):
        assert "a drop of up to 0.14" in page
        assert "1.10x &lt;b&gt;" in page
    for text in (report_markdown(run), comparison_markdown(labelled, gates)):
        assert "| --max-drop | 0.5 | 🟢 yes | a drop of up to 0.14 |" in text
        assert "| --min-speedup | 1.2 | 🔴 no | 1.10x &lt;b&gt; |" in text
    assert "Gates" not in report_html(documents.run())
