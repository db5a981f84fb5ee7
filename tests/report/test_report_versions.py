"""Reports that the first schema version wrote."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from compressor.codec import read_report
from compressor.records.benchmark import BenchmarkReport
from compressor.records.run import Report, RunReport
from compressor.report.benchmark_tables import latency_table
from compressor.report.figures import summary_table
from compressor.report.gates import check_gates
from compressor.report.headline import headline
from compressor.report.html import comparison_html, report_html
from compressor.report.markdown import comparison_markdown, report_markdown
from compressor.report.run_tables import stage_table
from compressor.report.side_by_side import compare_reports, comparison_table
from compressor.report.table import Table
from compressor.report.terminal import FittedTable

FIXTURES = Path(__file__).parent / "fixtures"


def old(kind: str) -> Report:
    return read_report(FIXTURES / f"{kind}_version_1.json")


def drawn(table: Table) -> str:
    file = io.StringIO()
    Console(file=file, width=200).print(FittedTable(table))
    return file.getvalue()


def test_the_numbers_of_an_old_run_are_told() -> None:
    assert headline(old("run")).startswith(
        "1.43x faster (CI 1.40–1.46), half the compute, accuracy −0.56 points (within noise: CI "
    )


def test_an_old_run_is_drawn_in_the_terminal() -> None:
    run = old("run")
    assert isinstance(run, RunReport)
    text = drawn(stage_table(run))
    assert "99.44 % [98.0–99.8]" in text
    assert "faster [" in drawn(summary_table(run))


def test_an_old_benchmark_is_drawn_in_the_terminal() -> None:
    benchmark = old("benchmark")
    assert isinstance(benchmark, BenchmarkReport)
    assert "40.3 M" in drawn(latency_table(benchmark))


@pytest.mark.parametrize("kind", ["run", "benchmark"])
def test_an_old_report_becomes_html_and_markdown(kind: str) -> None:
    assert "40.3 M" in report_html(old(kind))
    assert "| 40.3 M |" in report_markdown(old(kind))


def test_an_old_run_keeps_its_training_chart() -> None:
    assert "MACs kept, %" in report_html(old("run"))
    assert "accuracy, %" in report_html(old("run"))


def test_old_reports_compare() -> None:
    labelled = [("run", old("run")), ("benchmark", old("benchmark"))]
    result = compare_reports(labelled)
    assert [row.label for row in result.rows] == ["run", "run", "benchmark", "benchmark"]
    assert result.warnings == ()
    assert "99.44 % [98.0–99.8]" in drawn(comparison_table(result))
    assert "Side by side" in comparison_html(labelled)
    assert "Side by side" in comparison_markdown(labelled)
    assert all(gate.holds for gate in check_gates(old("run"), old("run"), max_drop=50.0, min_speedup=1.1))
