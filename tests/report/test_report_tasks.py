"""Reports of metrics that are no accuracy."""

from __future__ import annotations

import report_documents as documents
from msgspec.structs import replace

from compressor.records import Metric
from compressor.records.run import Target
from compressor.records.search import Drop, Probe
from compressor.report.again import command_of
from compressor.report.gates import check_run
from compressor.report.probe_table import probe_table
from compressor.report.run_tables import stage_table
from compressor.report.targets import missed_line


def run_with(metric):
    run = documents.run()
    return replace(run, stages=tuple(replace(row, metric=row.metric and metric) for row in run.stages))


def test_a_gate_by_a_metric_without_an_interval_says_why_it_fails():
    run = run_with(Metric(name="mAP", value=0.25, n=7))
    (gate,) = check_run(run, max_drop=5.0, min_speedup=None)
    assert not gate.holds
    assert gate.measured == "max-drop 5 cannot be checked: the dense network has no mAP interval"


def test_the_name_of_a_metric_is_written_as_it_is():
    table = stage_table(run_with(Metric(name="mean IoU", value=0.25, n=7)))
    assert "Mean IoU" in [column.title for column in table.columns]


def test_a_drop_has_the_unit_of_its_metric():
    target = Target(kind="drop", asked=0.1, reached=0.254321, met=False, unit="RMSE")
    assert missed_line(target) == "Target missed: at most 0.1 RMSE asked, 0.2543 RMSE reached."
    probes = (
        Probe(folder="search/0.5", asked=0.5, within=True, drop=Drop(points=-0.05123, ci95=(-0.06, 0.01), n=48)),
        Probe(folder="search/0.2", asked=0.2, within=False, drop=Drop(points=0.254321, ci95=None, n=48)),
    )
    table = probe_table(replace(documents.run(), probes=probes, targets=(target,)))
    assert "than the dense network's, in RMSE, on the same samples" in table.caption
    drops = (
        [row[2].text for row in table.rows]
        if table.rows[0][2].text.startswith("−")
        else [row[1].text for row in table.rows]
    )
    assert drops == ["−0.05123 [−0.06 to 0.01]", "0.2543"]


def test_the_command_that_checks_a_file_names_the_users_code_again():
    words = "compress run net.pt --data mine.py:loaders --task mine.py:Boxes --task-arg=size=3 --epochs 2"
    command = command_of(words)
    kept = ("--data", "mine.py:loaders", "--task", "mine.py:Boxes", "--task-arg=size=3")
    assert command.kept("--data", "--task", "--task-arg") == kept
    assert command_of("compress run net.pt --data digits").kept("--data", "--task", "--task-arg") == ()
