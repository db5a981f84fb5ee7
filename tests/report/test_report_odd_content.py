"""Reports of unknown origin: what the codec lets through, every writer renders."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from io import StringIO
from random import Random
from typing import Any

import pytest
import report_documents as documents
from rich.console import Console

from compressor.codec import decode_report, encode
from compressor.errors import CompressorError
from compressor.records.run import Report, RunReport
from compressor.report.benchmark_tables import latency_table
from compressor.report.headline import all_warnings, finding_lines
from compressor.report.html import comparison_html, report_html
from compressor.report.markdown import comparison_markdown, report_markdown
from compressor.report.run_tables import stage_table
from compressor.report.side_by_side import compare_reports, comparison_table
from compressor.report.table import Column, Table, row
from compressor.report.terminal import FittedTable

BASES = [json.loads(encode(report)) for report in (documents.run(), documents.benchmark(), documents.missed_target())]
WHOLE = [0, -1, 1, 2**63, 2**64 - 1, -(2**63), 10**18]
REAL = [*WHOLE, -0.0, 1e99, -1e99, 5e-324, 1e38]
TEXTS = ["", "x" * 3000, "\x1b[2J", "<script>", "a|b\nc", "‮", "$\\frac{", "%s{}", "2025-13-99", "a\0b", "share", "dB"]


def rendered(report: Report) -> None:
    labelled = [("odd", report), ("sound", documents.run())]
    for text in (
        report_html(report),
        comparison_html(labelled),
        report_markdown(report),
        comparison_markdown(labelled),
    ):
        text.encode()
    both = compare_reports(labelled)
    own = stage_table(report) if isinstance(report, RunReport) else latency_table(report)
    for table in (comparison_table(both), own):
        Console(file=StringIO(), width=80).print(FittedTable(table))
    assert all(isinstance(line, str) for line in (*finding_lines(report), *all_warnings(report)))
    encode(both)


def places(plain: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    items = plain.items() if isinstance(plain, dict) else enumerate(plain) if isinstance(plain, list) else ()
    for key, value in items:
        yield (*path, key)
        yield from places(value, (*path, key))


def mutated(plain: Any, random: Random) -> Any:
    """Another value of the same kind in a few places, so that most of them pass the codec."""
    plain = json.loads(json.dumps(plain))
    for place in random.sample(list(places(plain)), k=random.choice([1, 3, 9])):
        around = plain
        try:
            for key in place[:-1]:
                around = around[key]
            old = around[place[-1]]
        except (KeyError, IndexError, TypeError):
            continue  # an earlier mutation took it away
        around[place[-1]] = other(old, random) if place[-1] not in ("kind", "verdict", "direction") else old
    return plain


def other(old: Any, random: Random) -> Any:
    match old:
        case bool() | None:
            return old
        case int():
            return random.choice(WHOLE)
        case float():
            return random.choice(REAL)
        case str():
            return random.choice(TEXTS)
        case [int() | float(), int() | float()]:
            return old[::-1]
        case list():
            return random.choice([[], old[::-1], old[:1], old * 3])
    return old


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(1, 40))])
def test_whatever_is_accepted_is_rendered(seed: int) -> None:
    random, accepted = Random(seed), 0
    for _ in range(4):
        content = json.dumps(mutated(random.choice(BASES), random)).encode()
        try:
            report = decode_report(content, "r.json")
        except CompressorError as error:
            assert "\n" not in str(error)  # noqa: PT017  (either way is right)
            continue
        with warnings.catch_warnings(action="error"):
            rendered(report)
        accepted += 1
    assert accepted


def test_numbers_of_any_size_are_drawn_without_a_warning() -> None:
    plain = json.loads(encode(documents.run()))
    for stage, value in zip(plain["stages"], (1e99, -1e99, 5e-324, 0), strict=False):
        stage["metric"] = {"name": "loss", "unit": "", "value": value, "n": 0, "ci95": [value, -value]}
    for comparison in plain["benchmark"]["comparisons"]:
        comparison |= {"ratio": 0.0, "ci95": [1e99, -1e99], "speedup_ci95": [2, 1], "noise_floor": -1.0}
    with warnings.catch_warnings(action="error"):
        rendered(decode_report(json.dumps(plain).encode(), "r.json"))


def test_a_table_of_thousands_of_rows_is_cut_in_the_terminal() -> None:
    table = Table("Many", (Column("One"), Column("Two", spare=1)), tuple(row(str(i), "x") for i in range(20_000)))
    console = Console(file=StringIO(), width=80)
    console.print(FittedTable(table))
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    assert "299" in shown
    assert "300 " not in shown
    assert "19700 more rows are left out here" in shown
