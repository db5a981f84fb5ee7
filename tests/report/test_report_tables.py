from __future__ import annotations

import io
import re
from typing import Any

import pytest
import report_documents as documents
from msgspec.structs import replace
from rich.console import Console

from compressor.report.benchmark_tables import latency_table
from compressor.report.figures import summary_table
from compressor.report.run_tables import gate_table, stage_table
from compressor.report.side_by_side import compare_reports, comparison_table
from compressor.report.targets import target_table, targets_of
from compressor.report.terminal import FittedTable


def drawn(table: Any, width: int, *, color: bool = False) -> str:
    file = io.StringIO()
    Console(file=file, width=width, force_terminal=color, color_system="standard" if color else None).print(table)
    return file.getvalue()


LABELLED = [("main", documents.run()), ("branch", documents.missed_target())]
TABLES = {
    "stages": FittedTable(stage_table(documents.run())),
    "summary": FittedTable(summary_table(documents.run())),
    "benchmark": FittedTable(latency_table(documents.benchmark())),
    "comparison": FittedTable(comparison_table(compare_reports(LABELLED))),
}


@pytest.mark.parametrize("name", TABLES)
@pytest.mark.parametrize("width", [80, 100, 120])
def test_no_row_wraps_in_a_usual_terminal(name: str, width: int) -> None:
    lines = drawn(TABLES[name], width).splitlines()
    rows = len(TABLES[name].table.rows)
    left_out = [line for line in lines if line.startswith("Left out at this width: ")]
    assert sum(bool(line.strip()) for line in lines) == rows + 2 + len(left_out)
    assert max(map(len, lines)) <= width


@pytest.mark.parametrize("name", ["summary", "benchmark", "comparison"])
@pytest.mark.parametrize("width", [60, 80, 200])
def test_the_verdict_is_never_left_out(name: str, width: int) -> None:
    assert "1.90x faster" in drawn(TABLES[name], width)


def test_the_least_important_column_goes_first() -> None:
    narrow, wide = drawn(TABLES["stages"], 80), drawn(TABLES["stages"], 160)
    assert "outputs checked equal" not in narrow
    assert "outputs checked equal" in wide


@pytest.mark.parametrize("name", TABLES)
@pytest.mark.parametrize("width", [60, 80, 100, 250])
def test_what_is_left_out_is_named(name: str, width: int) -> None:
    head, _, left_out = drawn(TABLES[name], width).partition("Left out at this width: ")
    shown = re.split(r"\s{2,}", head.strip().splitlines()[0].strip())
    hidden = list(filter(None, " ".join(left_out.split()).split(", ")))
    columns = [column.title for column in TABLES[name].table.columns]
    assert columns == [title for title in columns if title in {*shown, *hidden}]
    assert len(columns) == len(shown) + len(hidden)


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
    document = documents.benchmark()
    (first, *others) = document.variants
    timed = tuple(replace(latency, p99_ms=3.0) for latency in first.latency)
    some = replace(document, variants=(replace(first, latency=timed), *others))
    assert "n/a" in drawn(FittedTable(latency_table(some)), 200)


def test_a_percentile_that_no_row_has_is_no_column() -> None:
    assert "p99" not in drawn(TABLES["benchmark"], 200)


def test_no_cell_of_a_run_is_a_hole() -> None:
    run = documents.run()
    tables = (stage_table(run), summary_table(run), gate_table(run.gates), target_table(targets_of(run)))
    assert all(cell.text for table in tables for cells in table.rows for cell in cells)


def test_a_run_that_was_not_timed_has_no_latency() -> None:
    assert "Latency" not in drawn(FittedTable(summary_table(documents.run(benchmark=None))), 200)


def test_names_are_text_not_markup_and_cannot_steer_the_terminal() -> None:
    report = documents.benchmark()
    report = replace(report, variants=documents.with_first(report.variants, name="[red]x[/]\x1b[2J"))
    text = drawn(FittedTable(latency_table(report)), 160)
    assert "[red]x[/]\\x1b[2J" in text
    assert "\x1b" not in text


def test_a_column_of_another_metric_carries_its_name() -> None:
    text = drawn(FittedTable(stage_table(documents.with_final(documents.run(), documents.perplexity(20.0)))), 200)
    assert "20 nats [19–21]" in text
