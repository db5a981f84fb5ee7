from __future__ import annotations

import math
from typing import Any

import pytest
import report_documents as documents
from msgspec.structs import replace

from compressor.errors import UsageError
from compressor.records import Metric
from compressor.records.run import Report, RunReport
from compressor.report.drops import drop_bound
from compressor.report.gates import check_gates, failures
from compressor.report.side_by_side import compare_reports


def failed(old: Report, new: Report, **limits: float | None) -> list[str]:
    return failures(check_gates(old, new, **{"max_drop": None, "min_speedup": None, **limits}))


def with_accuracy(value: float, reach: float) -> RunReport:
    return documents.with_final(documents.run(), documents.accuracy(value, reach))


def test_a_run_gives_its_dense_and_its_final_network() -> None:
    rows = compare_reports([("main", documents.run())]).rows
    assert [(row.label, row.variant, row.macs) for row in rows] == [
        ("main", "dense", 82_300_000),
        ("main", "small", 41_000_000),
    ]


def test_a_benchmark_gives_a_row_for_each_variant_and_batch() -> None:
    rows = compare_reports([("b", documents.benchmark())]).rows
    assert [(row.variant, row.batch) for row in rows] == [
        ("dense", 1),
        ("dense", 8),
        ("small", 1),
        ("small", 8),
    ]


def test_only_what_was_measured_against_a_baseline_has_a_comparison() -> None:
    dense, small = compare_reports([("main", documents.run("slower"))]).rows
    assert dense.comparison is None
    assert small.comparison is not None
    assert small.comparison.verdict == "slower"


def test_a_run_that_was_not_timed_has_no_times() -> None:
    rows = compare_reports([("main", documents.run(benchmark=None))]).rows
    assert [row.p50_ms for row in rows] == [None, None]
    assert rows[-1].size_bytes == 481_000


def test_other_machines_are_a_warning() -> None:
    other = documents.benchmark(cpu_model="Intel Xeon")
    warnings = compare_reports([("a", documents.benchmark()), ("b", other)]).warnings
    assert warnings[0] == "The measurements differ in processor: AMD EPYC 9354 32-Core Processor | Intel Xeon."


def test_other_data_is_a_warning() -> None:
    other = documents.run(settings={"data": "mnist:data"})
    warnings = compare_reports([("a", documents.run()), ("b", other)]).warnings
    assert "The accuracy was measured on different data: digits | mnist:data." in warnings


def test_another_number_of_samples_is_a_warning() -> None:
    other = documents.with_final(documents.run(), Metric(value=0.98, n=100))
    warnings = compare_reports([("a", documents.run()), ("b", other)]).warnings
    assert "The accuracy was measured on different numbers of samples: 100 | 360." in warnings


def test_the_warnings_of_each_document_carry_its_label() -> None:
    warnings = compare_reports([("old", documents.run())]).warnings
    assert warnings == ("old: the machine is virtualised: absolute times may drift",)


def test_no_gate_no_failure() -> None:
    assert check_gates(documents.run(), documents.missed_target(), max_drop=None, min_speedup=None) == ()


def test_the_drop_is_judged_by_its_bound() -> None:
    old, new = with_accuracy(0.98, 0.001), with_accuracy(0.977, 0.001)
    assert failed(old, new, max_drop=0.5) == []
    (failure,) = failed(old, with_accuracy(0.977, 0.01), max_drop=0.5)
    assert failure == (
        "accuracy changed by −0.30 points, but with 360 samples, taken as independent because single outcomes are not "
        "stored, a drop of up to 1.30 lies within the 95 % interval; 0.5 is allowed; to show that much takes about "
        "9,045 samples"
    )


def test_the_bound_of_a_drop_is_newcombes() -> None:
    # Newcombe 1998, Table II (a): 56/70 against 48/80 with Wilson intervals gives 0.0524 to 0.3339.
    old = Metric(value=56 / 70, n=70, ci95=(0.6918, 0.8770))
    new = Metric(value=48 / 80, n=80, ci95=(0.4905, 0.7004))
    assert drop_bound(old, new) == pytest.approx(33.39, abs=0.03)


def test_the_speed_up_is_judged_by_its_bound() -> None:
    assert failed(documents.run(), documents.run(), min_speedup=1.85) == []
    found = failed(documents.run(), documents.run(), min_speedup=1.88)
    assert found[0] == (
        "small against dense, batch 1: measured 1.90x as fast, but the 95 % interval begins at 1.86x; 1.88x is required"
    )


def test_every_comparison_has_to_pass_the_speed_gate() -> None:
    assert len(failed(documents.run(), documents.run("same"), min_speedup=1.2)) == 2


def test_a_gate_on_what_was_not_timed_fails() -> None:
    new = documents.run(benchmark=None)
    assert failed(documents.run(), new, min_speedup=1.2) == [
        "the new document has no timed comparison, so min-speedup 1.2 cannot be checked"
    ]


@pytest.mark.parametrize(
    ("old", "new", "which"),
    [
        (documents.benchmark(), documents.run(), "old"),
        (documents.run(), documents.benchmark(), "new"),
    ],
)
def test_a_gate_on_an_accuracy_that_is_not_there_fails(old: Report, new: Report, which: str) -> None:
    (failure,) = failed(old, new, max_drop=1.0)
    assert failure == f"max-drop 1 cannot be checked: the {which} document has no accuracy interval"


@pytest.mark.parametrize("limit", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("gate", ["max_drop", "min_speedup"])
def test_a_gate_without_a_finite_limit_is_refused(gate: str, limit: float) -> None:
    limits: dict[str, Any] = {"max_drop": None, "min_speedup": None, gate: limit}
    with pytest.raises(UsageError, match=f"^--{gate.replace('_', '-')} must be a finite number, got {limit}$"):
        check_gates(documents.run(), documents.run(), **limits)


def test_a_metric_of_which_less_is_better_is_worse_when_it_rises() -> None:
    old = documents.with_final(documents.run(), documents.perplexity(20.0))
    assert failed(old, documents.with_final(old, documents.perplexity(15.0)), max_drop=0.0) == []
    (failure,) = failed(old, documents.with_final(old, documents.perplexity(23.0)), max_drop=4.0)
    assert failure == (
        "perplexity changed by +3 nats, but with 360 samples, taken as independent because single outcomes are not "
        "stored, a rise of up to 4.414 lies within the 95 % interval; 4 is allowed; to show that much takes about "
        "720 samples"
    )


def test_two_metrics_have_no_drop_between_them() -> None:
    other = documents.with_final(documents.run(), documents.perplexity(20.0))
    (failure,) = failed(documents.run(), other, max_drop=1.0)
    assert failure == "max-drop 1 cannot be checked: they measure accuracy and perplexity"


def test_warnings_cannot_steer_the_terminal() -> None:
    other = documents.benchmark(os="\x1b]0;owned\x07", cpu_model="\x9b2J", flags=["\x1b[2J"])
    nasty = replace(other, warnings=("\x1b[31mred",))
    warnings = compare_reports([("\x1b[1ma", documents.benchmark()), ("b", nasty)]).warnings
    assert len(warnings) == 5
    assert all(warning.isprintable() for warning in warnings)
