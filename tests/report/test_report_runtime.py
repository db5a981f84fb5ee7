"""Tables of what the runtime did: operators, providers, layers off its fast path."""

from __future__ import annotations

import report_documents as documents
from msgspec.structs import replace
from test_report_tables import drawn

from compressor.records.benchmark import (
    BenchmarkReport,
    OperatorTime,
    ProviderShare,
    Throughput,
    UnalignedLayer,
    WidthCost,
)
from compressor.report.alignment import alignment_table
from compressor.report.benchmark_tables import latency_table
from compressor.report.html import report_html
from compressor.report.markdown import report_markdown
from compressor.report.operators import operator_table
from compressor.report.providers import provider_table
from compressor.report.table import Table
from compressor.report.terminal import FittedTable
from compressor.report.throughput import throughput_table

CPU, VINO = "CPUExecutionProvider", "OpenVINOExecutionProvider"


def operators(**us: float) -> tuple[OperatorTime, ...]:
    return tuple(OperatorTime(operator=name, provider=CPU, nodes=2, us=time) for name, time in us.items())


def report(provider: str = "cpu") -> BenchmarkReport:
    plain = documents.benchmark()
    dense, small = plain.variants
    shares = (ProviderShare(provider=VINO, nodes=30, us=60.0),
              ProviderShare(provider=CPU, nodes=10, shape_nodes=4, us=20.0))  # fmt: skip
    layers = (
        UnalignedLayer(name="conv1", channels=52, rule="block", step=16, us=100.0,
                       snapped=(WidthCost(channels=48, us=76.4), WidthCost(channels=64, us=100.2))),
        UnalignedLayer(name="conv2", channels=3, snapped=(WidthCost(channels=4),)),
    )  # fmt: skip
    loops = (Throughput(batch=8, items_per_s=12_345.0, ci95=(12_000.0, 12_700.0), loops=5, peak_bytes=15_100_000.0),)
    dense = replace(dense, throughput=loops, operators=operators(Conv=750.0, ReorderInput=30.0, Pad=20.0))
    small = replace(
        small, operators=operators(Conv=375.0, ReorderInput=25.0), providers=shares, unaligned_layers=layers
    )
    return replace(plain, variants=(dense, small), settings=replace(plain.settings, provider=provider))


def texts(table: Table) -> list[list[str]]:
    return [[cell.text for cell in cells] for cells in table.rows]


def test_operators_of_all_variants_stand_side_by_side_with_their_shares() -> None:
    table = operator_table(report())
    assert [column.title for column in table.columns[:4]] == ["Operator", "dense µs", "share", "nodes"]
    assert texts(table) == [
        ["Conv", "750", "93.8 %", "2", "375", "93.8 %", "2"],
        ["ReorderInput", "30", "3.8 %", "2", "25", "6.2 %", "2"],
        ["Pad", "20", "2.5 %", "2", "", "", ""],
        ["all", "800", "100.0 %", "6", "400", "100.0 %", "4"],
    ]
    assert "blocked layout" in table.caption


def test_a_report_that_was_not_profiled_has_no_such_tables() -> None:
    plain = documents.benchmark()
    assert not operator_table(plain).rows
    assert not provider_table(plain).rows
    assert not alignment_table(plain).rows
    assert not throughput_table(plain).rows


def test_providers_are_shown_where_another_than_the_cpu_was_asked_for() -> None:
    assert not provider_table(report()).rows
    assert texts(provider_table(report("openvino"))) == [
        ["small", "OpenVINO", "30", "75.0 %", "0", "60", "75.0 %"],
        ["small", "CPU", "10", "25.0 %", "4", "20", "25.0 %"],
    ]


def test_layers_off_the_fast_path_are_shown_with_what_snapping_would_give() -> None:
    assert texts(alignment_table(report())) == [
        ["small", "conv1", "52", "blocks of 16", "100", "48: −24 %", "64: ±0 %"],
        ["small", "conv2", "3", "read in fours", "", "", "4"],
    ]


def test_throughput_has_a_row_for_each_batch() -> None:
    assert texts(throughput_table(report())) == [["dense", "8", "12.3 k", "12.0 k–12.7 k", "15.1 MB"]]


def test_load_time_is_in_the_first_table() -> None:
    assert "5.40 ms" in drawn(FittedTable(latency_table(report())), 80)


def test_the_tables_are_on_the_page_and_in_the_markdown() -> None:
    for text in (report_html(report("openvino")), report_markdown(report("openvino"))):
        for words in (
            "Time by operator",
            "Nodes by provider",
            "Layers off the fast path",
            "ReorderInput",
            "−24",
            "12.3 k",
        ):
            assert words in text


def test_they_fit_a_usual_terminal_with_the_times() -> None:
    for table in (operator_table(report()), provider_table(report("openvino")), alignment_table(report())):
        lines = drawn(FittedTable(table), 80).splitlines()
        left_out = [line for line in lines if line.startswith("Left out at this width: ")]
        assert sum(bool(line.strip()) for line in lines) == len(table.rows) + 2 + len(left_out)
        assert max(map(len, lines)) <= 80


def test_a_name_in_a_heading_is_text_and_cannot_steer_the_terminal() -> None:
    hostile = report()
    hostile = replace(hostile, variants=documents.with_first(hostile.variants, name="[red]x[/]\x1b[2J"))
    assert "[red]x[/]\\x1b[2J µs" in drawn(FittedTable(operator_table(hostile)), 200)
