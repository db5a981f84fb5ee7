"""The charts of a report, each as inline SVG, or None when there is nothing to draw."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from compressor.records import Interval, Metric
from compressor.records.benchmark import Comparison
from compressor.records.run import Epoch, RunReport
from compressor.report.canvas import ACCENT, COLOURS, FAINT, INK, LINE, MUTED, canvas
from compressor.report.format import TONES, metric_axis, plain
from compressor.report.side_by_side import SideBySide

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def metric_chart(run: RunReport) -> str | None:
    """The metric of each stage with its 95 % interval; what stale statistics bring down is left out."""
    measured = [(plain(stage.stage), stage.metric) for stage in run.stages if stage.metric and not stage.stale]
    if not measured:
        return None
    label, factor = metric_axis(measured[0][1])
    with canvas("accuracy", 0.8 + 0.28 * len(measured)) as (figure, svg):
        axes = figure.subplots()
        for place, (_, metric) in enumerate(measured):
            value = factor * metric.value
            reach = _transposed([_reach(value, metric.ci95, factor)])
            axes.errorbar([value], [place], xerr=reach, **_points(ACCENT))
        axes.set_yticks(range(len(measured)), [_short(stage) for stage, _ in measured])
        axes.set_ylim(len(measured) - 0.4, -0.6)
        axes.margins(x=0.08)
        axes.set_xlabel(_short(label))
        axes.grid(axis="x")
    return svg[0]


def latency_chart(comparisons: Sequence[Comparison], names: Sequence[str]) -> str | None:
    """Latency as a fraction of the baseline's, with its interval and the noise floor around 1."""
    if not comparisons:
        return None
    with canvas("latency", 1.0 + 0.34 * len(comparisons)) as (figure, svg):
        axes = figure.subplots()
        noise = max((one.noise_floor or 0 for one in comparisons), default=0)
        axes.axvspan(1 - noise, 1 + noise, color=LINE, alpha=0.7, linewidth=0)
        axes.axvline(1, color=MUTED, linewidth=1)
        for position, one in enumerate(comparisons):
            reach = _transposed([_reach(one.ratio, one.ci95, 1)])
            axes.errorbar([one.ratio], [position], xerr=reach, **_points(_tone(one)))
        axes.set_yticks(range(len(names)), [_short(name) for name in names])
        axes.set_ylim(len(comparisons) - 0.4, -0.6)
        axes.set_xlim(*_with_room(comparisons, noise))
        axes.set_xlabel("latency / baseline")
        axes.grid(axis="x")
    return svg[0]


def channel_chart(run: RunReport) -> str | None:
    """Channels of every layer before and after; products have none of their own."""
    layers = [layer for layer in run.layers if layer.before]
    if not layers:
        return None
    with canvas("channels", min(9.0, 0.9 + 0.19 * len(layers))) as (figure, svg):
        axes = figure.subplots()
        rows = range(len(layers))
        axes.barh(rows, [float(layer.before) for layer in layers], height=0.72, color=FAINT, label="before")
        axes.barh(rows, [float(layer.after) for layer in layers], height=0.72, color=ACCENT, label="after")
        every = math.ceil(len(layers) / 44)
        axes.set_yticks(list(rows)[::every], [_short(layer.name) for layer in layers][::every])
        axes.set_ylim(len(layers) - 0.4, -0.6)
        axes.set_xlabel("channels")
        axes.tick_params(axis="y", labelsize=8 if len(layers) <= 44 else 6)
        axes.grid(axis="x")
        figure.legend(loc="outside upper right", ncols=2)
    return svg[0]


def training_chart(run: RunReport) -> str | None:
    """Loss, metric, MACs kept, gap and beta over the epochs, as far as they were logged; a title over each phase."""
    epochs = run.training
    enough = 1 if len(epochs) == 1 else 2
    panels = [panel for panel in _panels(epochs) if sum(value is not None for value in panel.values) >= enough]
    if not panels:
        return None
    phases = _phases([epoch.phase for epoch in epochs])
    with canvas("training", 0.7 + 1.0 * len(panels)) as (figure, svg):
        stack = figure.subplots(len(panels), sharex=True, squeeze=False)[:, 0]
        for axes, panel in zip(stack, panels, strict=True):
            _panel(axes, panel, phases)
        for name, first, last in phases:
            place = 0.5 * (first + last + 1)
            title = {"va": "bottom", "ha": "center", "fontsize": 9, "color": INK}
            stack[0].annotate(_short(name, 18), (place, 1.04), xycoords=("data", "axes fraction"), **title)
        stack[-1].set_xlim(0.5, len(epochs) + 0.5)
        stack[-1].xaxis.get_major_locator().set_params(integer=True)
        stack[-1].set_xlabel("epoch")
        figure.align_ylabels()
    return svg[0]


def tradeoff_chart(result: SideBySide) -> str | None:
    """The metric against the latency ratio, both with intervals, for the rows that have both."""
    points = [(row.label, row.metric, row.comparison) for row in result.rows]
    whole = [(label, metric, timing) for label, metric, timing in points if metric and timing]
    if not whole:
        return None
    axis, factor = metric_axis(whole[0][1])
    with canvas("tradeoff", 2.8) as (figure, svg):
        axes = figure.subplots()
        axes.axvline(1, color=MUTED, linewidth=1)
        axes.margins(x=0.25, y=0.2)
        for _, metric, timing in whole:
            _tradeoff_point(axes, metric, factor, timing)
        places = [(timing.ratio, factor * metric.value) for _, metric, timing in whole]
        for index, (label, _, _) in enumerate(whole):
            _label_point(axes, label, places[index], _close(axes, places, index))
        axes.set_xlabel("latency / its own baseline")
        axes.set_ylabel(_short(axis))
        axes.grid()
    return svg[0]


class _Panel(NamedTuple):
    label: str
    values: list[float | None]
    factor: float = 1
    log: bool = False


def _panels(epochs: Sequence[Epoch]) -> list[_Panel]:
    validated = [epoch.validation for epoch in epochs if epoch.validation]
    label, factor = metric_axis(validated[0]) if validated else ("", 1.0)
    return [
        _Panel("loss", [epoch.loss for epoch in epochs]),
        _Panel(label, [epoch.validation.value if epoch.validation else None for epoch in epochs], factor),
        _Panel("MACs kept, %", [epoch.macs_kept for epoch in epochs], 100),
        _Panel("gap", [epoch.gap for epoch in epochs], log=True),
        _Panel("beta", [epoch.beta for epoch in epochs], log=True),
    ]


def _tradeoff_point(axes: Axes, metric: Metric, factor: float, timing: Comparison) -> None:
    x, y = timing.ratio, factor * metric.value
    axes.errorbar(
        [x],
        [y],
        xerr=_transposed([_reach(x, timing.ci95, 1)]),
        yerr=_transposed([_reach(y, metric.ci95, factor)]),
        **_points(_tone(timing)),
    )


def _close(axes: Axes, places: Sequence[tuple[float, float]], index: int) -> int:
    """How many earlier points lie so near that the labels would cover each other."""
    (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
    x, y = places[index]
    near = (abs(a - x) < 0.3 * (right - left) and abs(b - y) < 0.06 * (top - bottom) for a, b in places[:index])
    return sum(near)


def _label_point(axes: Axes, label: str, place: tuple[float, float], above: int) -> None:
    """``above`` so many lines; the label stays inside the axes: to the left of points in the right half."""
    x, _ = place
    side = -1 if x > 0.5 * sum(axes.get_xlim()) else 1
    axes.annotate(
        _short(label, 18),
        place,
        xytext=(6 * side, 5 + 12 * min(above, 5)),
        textcoords="offset points",
        ha="right" if side < 0 else "left",
        fontsize=9,
        color=INK,
    ).set_in_layout(False)


def _tone(comparison: Comparison) -> str:
    return COLOURS.get(TONES[comparison.verdict], MUTED)


def _phases(names: Sequence[str]) -> list[tuple[str, int, int]]:
    """Each phase with the index of its first epoch and that behind its last."""
    starts = [index for index, name in enumerate(names) if index == 0 or name != names[index - 1]]
    return [(names[start], start, end) for start, end in zip(starts, (*starts[1:], len(names)), strict=True)]


def _panel(axes: Axes, panel: _Panel, phases: Sequence[tuple[str, int, int]]) -> None:
    """One line per phase: nothing was measured between the last epoch of one and the first of the next."""
    values = [math.nan if value is None else panel.factor * value for value in panel.values]
    for _, first, last in phases:
        places = range(first + 1, last + 1)
        axes.plot(places, values[first:last], color=ACCENT, marker=".", markersize=4, linewidth=1.4)
    for _, first, _ in phases[1:]:
        axes.axvline(first + 0.5, color=MUTED, linewidth=0.8, linestyle=":")
    if panel.log and all(not value <= 0 for value in values):
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter("{x:g}")
    axes.margins(y=0.15)
    axes.set_ylabel(_short(panel.label))
    axes.grid(axis="y")


def _points(colour: str) -> dict[str, Any]:
    return {
        "color": colour,
        "marker": "o",
        "markersize": 5,
        "linestyle": "none",
        "linewidth": 1.4,
        "elinewidth": 1.4,
        "capsize": 3,
    }


def _reach(value: float, interval: Interval | None, scale: float) -> tuple[float, float]:
    """How far the error bar goes down and up from ``value``."""
    low, high = (scale * bound for bound in interval) if interval else (value, value)
    return max(0.0, value - low), max(0.0, high - value)


def _transposed(pairs: Sequence[tuple[float, float]]) -> list[list[float]]:
    return [[low for low, _ in pairs], [high for _, high in pairs]]


def _with_room(comparisons: Sequence[Comparison], noise: float) -> tuple[float, float]:
    """Limits that show the baseline, the noise floor and every interval."""
    low = min(1 - noise, *(one.ci95[0] for one in comparisons))
    high = max(1 + noise, *(one.ci95[1] for one in comparisons))
    room = max(0.02, 0.06 * (high - low))
    return low - room, high + room


def _short(name: str, most: int = 26) -> str:
    clean = plain(name)
    return clean if len(clean) <= most else f"…{clean[1 - most :]}"
