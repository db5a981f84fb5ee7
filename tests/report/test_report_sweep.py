"""A sweep as people read it: which networks others beat, in words that text from files cannot bend."""

import numpy as np
import pytest
from msgspec.structs import replace
from report_documents import benchmark, comparison

from compressor.pipeline.frontier import marked
from compressor.records import Metric, Outcomes
from compressor.records.run import Target
from compressor.records.sweep import FailedPoint, SweepReport, SweptNetwork
from compressor.report.sweep_page import sweep_headline, sweep_html, sweep_markdown
from compressor.report.sweep_table import sweep_table

SAMPLES = 1000
HOSTILE = '<script>alert(1)</script>"\x1b[2J|`x`'


def accuracy(right):
    """Of a network that gets the first ``right`` samples right."""
    bits = np.packbits(np.arange(SAMPLES) < right).tobytes()
    share = right / SAMPLES
    outcomes = Outcomes(samples="s", right=bits)
    return Metric(value=share, n=SAMPLES, ci95=(share - 0.01, share + 0.01), outcomes=outcomes)


def network(name, right, **fields):
    target = None if name == "dense" else Target(kind="macs", asked=0.5, reached=0.49, met=True)
    known = {"files": (f"points/{name}/small.onnx",), "macs": 1000, "parameters": 100, "size_bytes": 400}
    return SweptNetwork(name=name, metric=accuracy(right), target=target, **{**known, **fields})


def timed(ratios):
    """A benchmark in which each network takes so much of the dense one's time, give or take 0.02."""
    report = benchmark()
    compared = tuple(
        replace(comparison(variant=name), ratio=ratio, ci95=(ratio - 0.02, ratio + 0.02))
        for name, ratio in ratios.items()
    )
    variants = tuple(replace(report.variants[0], name=name) for name in ("dense", *ratios))
    settings = replace(report.settings, batches=(1,))
    return replace(report, variants=variants, comparisons=compared, settings=settings)


def document(rights, ratios, **fields):
    timing = timed(ratios)
    known = {"started": "2026-11-22T05:00:00+00:00", "duration_s": 60.0, "command": "compress sweep", "settings": {}}
    return SweepReport(
        **{**known, "target_kind": "macs", "warnings": (), "notes": (), **fields},
        networks=marked([network(name, right) for name, right in rights.items()], timing),
        benchmark=timing,
    )


@pytest.mark.parametrize(
    ("rights", "ratios", "dominated"),
    [
        ((990, 980, 970), (0.8, 0.6), {}),
        ((990, 960, 985), (0.8, 0.6), {"a": ("b", True)}),
        ((990, 984, 985), (0.8, 0.6), {"a": ("b", False)}),  # one sample more is noise
        ((990, 960, 985), (0.61, 0.6), {"a": ("b", False)}),  # and so is a hundredth of the time
        ((990, 980, 980), (0.7, 0.7), {}),
        ((990, 900, 900), (1.1, 1.2), {"a": ("dense", True), "b": ("dense", True)}),
        ((990, 995, 995), (0.8, 0.6), {"dense": ("a", True), "a": ("b", False)}),
    ],
)
def test_a_network_is_dominated_when_another_one_is_better_in_both(rights, ratios, dominated):
    networks = marked(
        [network(name, right) for name, right in zip(("dense", "a", "b"), rights, strict=True)],
        timed(dict(zip("ab", ratios, strict=True))),
    )
    assert {one.name: (one.dominated_by, one.clearly) for one in networks if one.dominated_by} == dominated


def test_the_table_says_what_is_on_the_frontier():
    report = document({"dense": 990, "0.5": 960, "0.25": 985}, {"0.5": 0.8, "0.25": 0.6})
    table = sweep_table(report)
    places = [cells[-1].text for cells in table.rows]
    assert places == ["on it", "dominated by 0.25", "on it"]
    change = next(i for i, column in enumerate(table.columns) if column.title.startswith("Change"))
    assert table.rows[1][change].text == "−3.00 points"
    known = replace(report, networks=(report.networks[0], replace(report.networks[1], change_ci95=(-0.043, -0.02))))
    assert sweep_table(known).rows[1][change].text == "−3.00 [−4.3 to −2.0]"


def test_the_headline_counts_and_names():
    report = document({"dense": 990, "0.5": 960, "0.25": 985}, {"0.5": 0.8, "0.25": 0.6})
    assert sweep_headline(report).startswith("2 networks; 0.25 is on the frontier. Fastest: 0.25, 1.90x faster (CI ")
    none = document({"dense": 990, "0.5": 900}, {"0.5": 1.2})
    assert sweep_headline(none) == "1 networks; none is on the frontier but the dense one."
    failed = replace(report, failed=(FailedPoint(name="0.01", why="too small"),))
    assert "2 networks, 1 targets without one" in sweep_headline(failed)
    assert "too small" in [cells[-1].text for cells in sweep_table(failed).rows]


def test_names_and_reasons_can_do_no_harm():
    report = document({"dense": 990, HOSTILE: 960}, {HOSTILE: 0.8}, command=HOSTILE, notes=(HOSTILE,))
    report = replace(report, failed=(FailedPoint(name=HOSTILE, why=HOSTILE),), settings={"architecture": HOSTILE})
    page, text = sweep_html(report), sweep_markdown(report)
    assert "<script" not in page
    assert "\x1b" not in page + text
    assert "<script" not in text
