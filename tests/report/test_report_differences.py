from __future__ import annotations

from pathlib import Path

import pytest
import report_documents as documents
from msgspec.structs import replace

from compressor.report.differences import (
    comparison_headline,
    comparison_notes,
    difference_lines,
    difference_table,
    differences,
    labels,
)
from compressor.report.gates import compare_gates


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        (["runs/a/report.json"], ["a"]),
        (["runs/a/report.json", "runs/b/report.json"], ["a", "b"]),
        (["x/a/report.json", "y/a/report.json"], ["x/a", "y/a"]),
        (["a/report.json", "bench.json"], ["a", "bench"]),
        (["p/bench.json", "q/bench.json", "r/report.json"], ["p/bench", "q/bench", "q/r"]),
        (["a/report.json", "a/report.json"], ["a", "a (2)"]),
    ],
)
def test_reports_are_called_by_their_folders(paths: list[str], names: list[str]) -> None:
    found = labels([Path(path) for path in paths])
    assert found[:2] == names[:2]
    assert len(set(found)) == len(found)


def test_a_report_in_this_folder_has_a_name_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert labels([Path("report.json")]) == [tmp_path.name]


def smaller() -> documents.RunReport:
    """Another run, which kept half as much."""
    run = documents.with_final(documents.run("slower"), documents.accuracy(0.93))
    (*others, last) = run.stages
    return replace(run, stages=(*others, replace(last, macs=20_500_000)))


def test_the_difference_names_metric_cost_and_speed_with_intervals() -> None:
    assert difference_lines([("a", documents.run()), ("b", smaller())]) == [
        "b against a: accuracy −5.61 points (CI −7.32 to −3.90); 50.0 % of the MACs; the same file size; "
        "beside its dense network 1.21x slower (CI 1.17–1.25), before 1.90x faster (CI 1.86–1.94)."
    ]


def test_every_later_report_is_held_against_the_first() -> None:
    three = [("a", documents.run()), ("b", smaller()), ("c", documents.run())]
    assert [(one.label, one.base, one.macs) for one in differences(three)] == [("b", "a", 0.5), ("c", "a", 1.0)]
    assert [cells[0].text for cells in difference_table(three).rows] == ["a", "b", "c"]
    assert comparison_headline(three) == "2 reports against a."
    assert comparison_notes(three)[:2] == difference_lines(three)
    gates = compare_gates(three, max_drop=1.0, min_speedup=None)
    assert [gate.measured.partition(":")[0] for gate in gates] == ["b", "c"]


def test_one_report_speaks_for_itself() -> None:
    alone = [("a", documents.run())]
    assert comparison_headline(alone).startswith("1.90x faster")
    assert comparison_notes(alone) == []
    assert differences(alone) == ()
    gates = compare_gates(alone, max_drop=5.0, min_speedup=1.2)
    assert [gate.name for gate in gates] == ["max-drop", "min-speedup", "min-speedup"]
    assert all(gate.holds for gate in gates)


def test_a_run_and_a_benchmark_share_what_both_know() -> None:
    (difference,) = differences([("run", documents.run()), ("bench", documents.benchmark())])
    assert (difference.metric_change, difference.ci95, difference.basis) == (None, None, "")
    assert difference.macs == 1.0
    (line,) = difference_lines([("run", documents.run()), ("bench", documents.benchmark())])
    assert line.startswith("bench against run: no metric that both measured; the same MACs; ")
