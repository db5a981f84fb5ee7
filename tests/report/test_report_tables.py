from __future__ import annotations

import io
from typing import Any

import pytest
import report_documents as documents
from msgspec.structs import replace
from rich.console import Console

from compressor.report.benchmark_tables import latency_table
from compressor.report.run_tables import stage_table
from compressor.report.side_by_side import compare_reports, comparison_table
from compressor.report.terminal import FittedTable


def drawn(table: Any, width: int, *, color: bool = False) -> str:
    file = io.StringIO()
    Console(file=file, width=width, force_terminal=color, color_system="standard" if color else None).print(table)
    return file.getvalue()


LABELLED = [("main", documents.run()), ("branch", documents.missed_target())]
TABLES = {
    "stages": FittedTable(stage_table(documents.run())),
    "benchmark": FittedTable(latency_table(documents.benchmark())),
    "comparison": FittedTable(comparison_table(compare_reports(LABELLED))),
}


@pytest.mark.parametrize("name", TABLES)
@pytest.mark.parametrize("width", [80, 100, 120])
def test_no_row_wraps_in_a_usual_terminal(name: str, width: int) -> None:
    lines = drawn(TABLES[name], width).splitlines()
    rows = len(TABLES[name].table.rows)
    assert sum(bool(line.strip()) for line in lines) == rows + 2
    assert max(map(len, lines)) <= width


@pytest.mark.parametrize("name", TABLES)
@pytest.mark.parametrize("width", [60, 80, 200])
def test_the_verdict_is_never_left_out(name: str, width: int) -> None:
    assert "1.90x faster" in drawn(TABLES[name], width)


def test_the_least_important_column_goes_first() -> None:
    narrow, wide = drawn(TABLES["stages"], 80), drawn(TABLES["stages"], 160)
    assert "Params" not in narrow
    assert "outputs checked equal" in wide


def test_the_batch_stays_when_it_tells_rows_apart() -> None:
    assert "Batch" in drawn(TABLES["benchmark"], 50)


@pytest.mark.parametrize(
    ("verdict", "code"), [("faster", "\x1b[32m"), ("slower", "\x1b[31m"), ("inconclusive", "\x1b[33m")]
)
def test_the_verdict_is_coloured(verdict: str, code: str) -> None:
    assert code in drawn(FittedTable(latency_table(documents.benchmark(verdict))), 120, color=True)


def test_no_difference_has_no_colour() -> None:
    text = drawn(FittedTable(latency_table(documents.benchmark("same"))), 120, color=True)
    assert not any(code in text for code in ("\x1b[31m", "\x1b[32m", "\x1b[33m"))


def test_a_percentile_without_enough_samples_is_not_available() -> None:
    assert "n/a" in drawn(TABLES["benchmark"], 120)


def test_a_run_that_was_not_timed_has_no_latency_column() -> None:
    assert "Latency" not in drawn(FittedTable(stage_table(documents.run(benchmark=None))), 200)


def test_names_are_text_not_markup_and_cannot_steer_the_terminal() -> None:
    report = documents.benchmark()
    report = replace(report, variants=documents.with_first(report.variants, name="[red]x[/]\x1b[2J"))
    text = drawn(FittedTable(latency_table(report)), 160)
    assert "[red]x[/]\\x1b[2J" in text
    assert "\x1b" not in text


def test_a_column_of_another_metric_carries_its_name() -> None:
    text = drawn(FittedTable(stage_table(documents.with_final(documents.run(), documents.perplexity(20.0)))), 200)
    assert "20 nats [19–21]" in text
