"""``compress run --plan``: what the run would do, shown."""

from __future__ import annotations

from typing import TYPE_CHECKING

from compressor.cli.console import Console

if TYPE_CHECKING:
    from compressor.checkpoints import Network
    from compressor.data.feeds import Data
    from compressor.pipeline import RunPlan


def show_plan(console: Console, network: Network, data: Data, plan: RunPlan, *, runs: int) -> None:
    """Measure a few steps and print what a run takes; ``runs`` is how many a search may take."""
    from compressor.data.samples import DataSet
    from compressor.errors import UsageError
    from compressor.pipeline.run_forecast import forecast_run
    from compressor.pipeline.teacher_views import asked_live
    from compressor.report.plan_tables import plan_lines, plan_table, width_table
    from compressor.report.terminal import FittedTable

    if not isinstance(data, DataSet):
        raise UsageError(f"--plan needs a data set that compress reads itself; {data.ref} makes its own batches")
    with console.progress("planning") as progress:
        forecast = forecast_run(network, data, plan, runs=runs, progress=progress)
    tables = [FittedTable(table) for table in (plan_table(forecast), width_table(forecast)) if table.rows]
    console.result(forecast, *tables, *asked_live(data), *plan_lines(forecast))
