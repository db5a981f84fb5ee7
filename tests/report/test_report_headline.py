from __future__ import annotations

import pytest
import report_documents as documents
from msgspec.structs import replace

from compressor.records import Metric
from compressor.records.run import Gate
from compressor.report.figures import key_figures
from compressor.report.headline import all_warnings, finding_lines, headline


def test_a_run_says_speed_compute_and_accuracy_with_their_intervals() -> None:
    assert headline(documents.run()) == (
        "1.90x faster (CI 1.86–1.94), half the compute, accuracy +0.28 points (within noise: CI −1.43 to +1.99)."
    )


@pytest.mark.parametrize(
    ("left", "words"),
    [
        (0.5, "half the"),
        (0.506, "half the"),
        (0.52, "52.0 % of the"),
        (0.335, "a third of the"),
        (1.0, "100.0 % of the"),
    ],
)
def test_a_share_has_a_name_only_where_it_is_that(left: float, words: str) -> None:
    run = documents.run()
    (*others, last) = run.stages
    run = replace(run, stages=(*others, replace(last, macs=round(left * run.stages[0].macs))))
    assert f", {words} compute, " in headline(run)


def test_a_drop_beyond_noise_is_not_called_noise() -> None:
    run = documents.with_final(documents.run(), documents.accuracy(0.93))
    assert "accuracy −5.33 points (CI −7.04 to −3.62)." in headline(run)


def test_a_metric_without_an_interval_says_so() -> None:
    run = documents.with_final(documents.run(), Metric(value=0.9861, n=360))
    assert "accuracy +0.28 points (interval unknown)." in headline(run)


@pytest.mark.parametrize(
    ("verdict", "words"),
    [
        ("same", "No faster (CI 0.98–1.01), half"),
        ("slower", "1.21x slower (CI 1.17–1.25), half"),
        ("inconclusive", "Speed inconclusive (CI 0.93–1.08), half"),
    ],
)
def test_what_is_not_faster_is_not_said_to_be(verdict: str, words: str) -> None:
    assert headline(documents.run(verdict)).startswith(words)


def test_a_missed_target_comes_first() -> None:
    start = "Target missed: at most 40.0 % of the MACs asked, 49.8 % of the MACs reached. "
    assert headline(documents.missed_target()).startswith(start)


def test_a_failed_gate_comes_first_too() -> None:
    gate = Gate(name="max-drop", limit=0.5, holds=False, measured="too much")
    assert headline(documents.run(gates=(gate,))).startswith("Gate --max-drop 0.5 failed. 1.90x faster")


def test_an_inconclusive_latency_claims_no_speed_up() -> None:
    text = headline(documents.missed_target())
    assert "Speed inconclusive (CI 0.93–1.08)" in text
    assert "faster" not in text


def test_what_was_not_measured_is_said() -> None:
    assert headline(documents.without_metrics(documents.run(benchmark=None))).endswith(
        "Speed not measured, half the compute, accuracy not measured."
    )


def test_the_proofs_of_a_run_are_in_its_summary() -> None:
    text = "\n".join(finding_lines(documents.run()))
    assert "Removing 1012 of 2100 channels changed the outputs by 4.4e-16 in float64 (limit 1.0e-09)" in text
    assert "ONNX small: differs from PyTorch by 4.7e-07, same top-1 on 100.0 %." in text
    assert "Gap before projection: 4.0e-04 of the weights' norm." in text


def test_the_warnings_of_run_and_benchmark_come_once_each() -> None:
    run, benchmark = documents.missed_target(), documents.benchmark()
    doubled = replace(run, benchmark=replace(benchmark, warnings=2 * benchmark.warnings))
    assert all_warnings(doubled) == [
        "the target was not met: 49.8 % of the MACs remain, 40.0 % were asked",
        "the machine is virtualised: absolute times may drift",
    ]


def test_a_benchmark_of_one_file_compares_nothing() -> None:
    assert (
        headline(replace(documents.benchmark(), comparisons=()))
        == "dense, small: measured alone, nothing to compare with."
    )


def test_a_benchmark_of_two_files_states_every_verdict() -> None:
    assert headline(documents.benchmark("same")) == (
        "small against dense, batch 1: no measurable difference (CI 0.98–1.01). "
        "small against dense, batch 8: no measurable difference (CI 0.98–1.01)."
    )


def test_many_comparisons_are_counted_by_verdict() -> None:
    document = documents.benchmark()
    tiny = documents.comparison("slower", variant="tiny")
    many = replace(document, comparisons=(*document.comparisons, tiny))
    lines = finding_lines(many)
    assert headline(many) == "3 comparisons: 2 faster, 1 slower."
    assert lines[2].startswith("tiny against dense, batch 1: 1.21x slower (CI 1.17–1.25")


def test_another_metric_is_told_by_its_name_and_unit() -> None:
    run = documents.run()
    first = documents.with_first(run.stages, metric=documents.perplexity(20.0))
    run = documents.with_final(replace(run, stages=first), documents.perplexity(23.5))
    assert "perplexity +3.5 nats (CI +2.086 to +4.914)" in headline(run)
    (figure,) = (figure for figure in key_figures(run) if figure.name == "Perplexity")
    assert (figure.value, figure.before, figure.after) == ("+3.5 nats", "20 nats", "23.5 nats")
    assert (figure.detail, figure.basis, figure.tone) == (
        "[+2.086 to +4.914]",
        "360 samples, taken as independent",
        "bad",
    )
