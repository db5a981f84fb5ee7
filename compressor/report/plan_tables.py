"""What a run is going to do, as tables and lines."""

from __future__ import annotations

from compressor.records.plan import RunForecast
from compressor.report.format import count, duration, share, size
from compressor.report.table import Column, Table, row, without_empty_columns


def plan_table(forecast: RunForecast) -> Table:
    """One row a stage."""
    columns = (Column("Stage", numeric=False), Column("Epochs"), Column("Steps"), Column("About"))
    rows = tuple(
        row(
            stage.title,
            "" if stage.epochs is None else str(stage.epochs),
            "" if stage.steps is None else f"{stage.steps:,}",
            duration(stage.seconds),
        )
        for stage in forecast.stages
    )
    return without_empty_columns(Table("Stages", columns, rows))


def width_table(forecast: RunForecast) -> Table:
    """Layers that would become narrower."""
    columns = (
        Column("Layer", numeric=False, wraps=True),
        Column("Channels"),
        Column("kept"),
        Column("MACs kept", spare=1),
    )
    rows = tuple(
        row(layer.name, str(layer.before), str(layer.after), share(layer.macs_after, layer.macs_before))
        for layer in forecast.layers
        if layer.before and layer.after != layer.before
    )
    return Table("Widths", columns, rows)


def plan_lines(forecast: RunForecast) -> list[str]:
    """The sums, one line of plain text each."""
    runs = f" for {forecast.runs} runs, the most that the search may take" if forecast.runs > 1 else ""
    together = f" of {forecast.processes} processes" if forecast.processes > 1 else ""
    (macs, macs_kept), (parameters, parameters_kept) = forecast.macs, forecast.parameters
    return [
        f"Widths by the weights as they are, which the run revises: {share(macs_kept, macs)} of {count(macs)} MACs "
        f"and {share(parameters_kept, parameters)} of {count(parameters)} parameters would be kept.",
        f"Time: about {duration(forecast.seconds)}{runs}, by {forecast.steps_measured} measured training steps"
        f"{together} on this machine as it is now.",
        f"Memory: about {size(forecast.memory_bytes)}{' for each' if together else ''}. "
        f"Disk: {size(forecast.peak_disk_bytes)} while it trains, "
        f"{size(forecast.disk_bytes)} in the end{' for each run' if forecast.runs > 1 else ''}.",
        "Nothing was trained or written.",
    ]
