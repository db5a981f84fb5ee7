from __future__ import annotations

import report_documents as documents
from msgspec.structs import replace

from compressor.report.markdown import comparison_markdown, report_markdown


def table_lines(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith("|")]


def test_a_run_has_headline_stages_proofs_and_benchmark() -> None:
    text = report_markdown(documents.run())
    assert text.startswith("### 1.90x faster (CI 1.86–1.94), half the compute")
    assert "| onnx | 98.61 % \\[97.2–99.6\\] | 41.0 M | 49.8 % |" in text
    assert "| Latency | 2.34 ms | 1.23 ms | 52.6 % | 🟢 1.90x faster \\[1.86–1.94\\] |" in text
    assert "**Ship small.onnx.**" in text
    assert "<summary>Equivalence checks</summary>" in text
    assert "**Latency and size**" in text


def test_a_verdict_is_marked_by_its_colour() -> None:
    assert "🟡 inconclusive \\[0.93–1.08\\]" in report_markdown(documents.missed_target())


def test_warnings_are_one_alert() -> None:
    text = report_markdown(documents.missed_target())
    assert "> [!WARNING]\n> - the target was not met: 49.8 % of the MACs remain, 40.0 % were asked\n> - the" in text


def test_a_benchmark_alone_has_no_stages() -> None:
    text = report_markdown(documents.benchmark())
    assert "**Stages**" not in text
    assert "| small | 8 |" in text


def test_names_keep_to_their_cell() -> None:
    report = documents.benchmark()
    dense, small = report.variants
    text = report_markdown(replace(report, variants=(dense, replace(small, name="a|b<script>\n`c`"))))
    assert "<script>" not in text
    assert "| a\\|b&lt;script&gt; \\`c\\` | 1 |" in text


def test_documents_stand_side_by_side() -> None:
    text = comparison_markdown([("old", documents.run()), ("new", documents.missed_target())])
    assert text.startswith(
        "### new against old: accuracy ±0.00 points (within noise: CI −1.71 to +1.71); the same MACs; "
    )
    assert "| old | 98.61 % | – | 41.0 M |" in text
    assert "| new | 98.61 % | ±0.00 points \\[−1.71 to +1.71\\] | 41.0 M |" in text
    assert [line.split(" | ")[:2] for line in table_lines(text[text.index("Side by side") :])[2:]] == [
        ["| old", "dense"],
        ["| old", "small"],
        ["| new", "dense"],
        ["| new", "small"],
    ]
    assert "*new: Target missed: at most 40.0 % of the MACs asked" in text
