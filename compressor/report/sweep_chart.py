"""The chart of a sweep: the metric against latency, both with intervals."""

from __future__ import annotations

from typing import TYPE_CHECKING

from compressor.records import Interval, Metric
from compressor.records.benchmark import Comparison
from compressor.records.sweep import SweepReport, SweptNetwork
from compressor.report.benchmark_tables import comparison_for
from compressor.report.canvas import ACCENT, INK, MUTED, canvas
from compressor.report.format import metric_axis, plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LONGEST_LABEL = 12
# Of the width of the axis.
RIGHT = 0.9


def frontier_chart(report: SweepReport) -> str | None:
    """Filled points are on the frontier, hollow ones dominated; None when nothing has a metric."""
    shown = [(one, one.metric) for one in report.networks if one.metric is not None]
    if not shown:
        return None
    label, factor = metric_axis(shown[0][1])
    with canvas("frontier", 3.2) as (figure, svg):
        axes = figure.subplots()
        axes.margins(x=0.12, y=0.15)
        timed = [(one, metric, comparison_for(report.benchmark, one.name, _batch(report))) for one, metric in shown]
        for one, metric, timing in timed:
            _draw(axes, one, metric, factor, timing)
        for one, metric, timing in timed:
            _label(axes, one, _ratio(timing), factor * metric.value)
        line = sorted(
            (_ratio(comparison_for(report.benchmark, one.name, _batch(report))), factor * metric.value)
            for one, metric in shown
            if one.dominated_by is None
        )
        axes.plot([x for x, _ in line], [y for _, y in line], color=ACCENT, linewidth=1, zorder=1)
        axes.set_xlabel("latency / dense")
        axes.set_ylabel(plain(label))
        axes.grid()
    return svg[0]


def _batch(report: SweepReport) -> int:
    return report.benchmark.settings.batches[0]


def _ratio(timing: Comparison | None) -> float:
    return timing.ratio if timing is not None else 1.0


def _draw(axes: Axes, one: SweptNetwork, metric: Metric, factor: float, timing: Comparison | None) -> None:
    x, y = _ratio(timing), factor * metric.value
    colour = MUTED if one.dominated_by is not None else ACCENT
    axes.errorbar(
        [x],
        [y],
        xerr=_reach(x, timing.ci95 if timing is not None else None, 1),
        yerr=_reach(y, metric.ci95, factor),
        color=colour,
        marker="o",
        markersize=5,
        markerfacecolor="none" if one.dominated_by is not None else colour,
        linestyle="none",
        elinewidth=1.2,
        capsize=3,
    )


def _label(axes: Axes, one: SweptNetwork, x: float, y: float) -> None:
    label = plain(one.name)[:LONGEST_LABEL]
    # At the right edge there is no room to the right.
    place, anchor = ((-7, 6), "right") if x > RIGHT * axes.get_xlim()[1] else ((7, -12), "left")
    axes.annotate(
        label, (x, y), xytext=place, textcoords="offset points", ha=anchor, fontsize=9, color=INK
    ).set_in_layout(False)


def _reach(value: float, interval: Interval | None, scale: float) -> list[list[float]]:
    """How far the error bar goes down and up from ``value``."""
    low, high = (scale * bound for bound in interval) if interval else (value, value)
    return [[max(0.0, value - low)], [max(0.0, high - value)]]
