from __future__ import annotations

import pytest
import report_documents as documents

from compressor.records.run import Target
from compressor.report.headline import headline
from compressor.report.html import report_html
from compressor.report.markdown import report_markdown
from compressor.report.targets import missed_line, target_table, targets_of

KINDS = [
    (Target(kind="macs", asked=0.5, reached=0.52, met=False), "50.0 % of the MACs", "52.0 % of the MACs"),
    (Target(kind="params", asked=0.5, reached=0.52, met=False), "50.0 % of the parameters", "52.0 % of the parameters"),
    (Target(kind="latency", asked=0.5, reached=0.6, met=False), "50.0 % of the latency", "60.0 % of the latency"),
    (Target(kind="size", asked=2e6, reached=2.5e6, met=False), "2.00 MB", "2.50 MB"),
    (
        Target(kind="size", asked=2e6, reached=2.5e6, met=False, compressed=True),
        "2.00 MB compressed",
        "2.50 MB compressed",
    ),
    (Target(kind="drop", asked=0.5, reached=0.7, met=False), "0.50 points", "0.70 points"),
]


@pytest.mark.parametrize(("target", "asked", "reached"), KINDS)
def test_a_target_is_missed_in_its_own_words(target: Target, asked: str, reached: str) -> None:
    assert missed_line(target) == f"Target missed: at most {asked} asked, {reached} reached."
    assert headline(documents.run(target=target)).startswith(missed_line(target))


def test_every_target_has_a_row_with_its_interval_and_the_next_width() -> None:
    latency = Target(kind="latency", asked=0.5, reached=0.48, met=True, ci95=(0.46, 0.5), next="0.53 with 32 channels")
    size = Target(kind="size", asked=2e6, reached=2.5e6, met=False)
    run = documents.run(target=size, targets=(latency, size))
    assert targets_of(run) == (latency, size)
    rows = [[cell.text for cell in cells] for cells in target_table(targets_of(run)).rows]
    assert rows == [
        ["latency", "50.0 %", "48.0 %", "46.0 % to 50.0 %", "yes", "0.53 with 32 channels"],
        ["file size", "2.00 MB", "2.50 MB", "–", "no", "–"],
    ]
    for text in (report_html(run), report_markdown(run)):
        assert "46.0 % to 50.0 %" in text
        assert "0.53 with 32 channels" in text


def test_older_reports_know_one_target() -> None:
    (target,) = targets_of(documents.run())
    assert target.kind == "macs"
    assert targets_of(documents.run(target=None)) == ()
