from __future__ import annotations

import report_documents as documents
from msgspec.structs import replace

from compressor.report.headline import all_warnings, finding_lines, headline, key_figures


def test_a_run_says_size_accuracy_and_latency_with_its_interval() -> None:
    assert headline(documents.run()) == (
        "49.8 % of the MACs and 43.1 % of the parameters remain; accuracy 98.33 % → 98.61 % (+0.28 points); "
        "1.90x faster (CI 1.86–1.94, noise floor ±1.3 %, 8x6 rounds)."
    )


def test_a_missed_target_comes_first() -> None:
    start = "Target missed: 40.0 % of the MACs asked, 49.8 % reached. "
    assert headline(documents.missed_target()).startswith(start)


def test_an_inconclusive_latency_claims_no_speed_up() -> None:
    text = headline(documents.missed_target())
    assert text.endswith("whether it is faster stays open: inconclusive (CI 0.93–1.08).")


def test_what_was_not_measured_is_said() -> None:
    assert headline(documents.without_metrics(documents.run(benchmark=None))).endswith(
        "accuracy was not measured; latency was not measured."
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
    first, *others = finding_lines(replace(document, comparisons=(*document.comparisons, tiny)))
    assert first == "3 comparisons: 2 faster, 1 slower."
    assert others[2].startswith("tiny against dense, batch 1: 1.21x slower (CI 1.17–1.25")


def test_another_metric_is_told_by_its_name_and_unit() -> None:
    run = documents.run()
    first = documents.with_first(run.stages, metric=documents.perplexity(20.0))
    run = documents.with_final(replace(run, stages=first), documents.perplexity(23.5))
    assert "perplexity 20 nats → 23.5 nats (+3.5 nats)" in headline(run)
    (figure,) = (figure for figure in key_figures(run) if figure.name == "Perplexity")
    assert (figure.value, figure.detail) == ("+3.5 nats", "20 nats → 23.5 nats, 360 samples")
