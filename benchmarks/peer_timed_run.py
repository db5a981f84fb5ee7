"""``compress run`` with the same arguments, which also writes how long its choice, its training and its teacher took.

    python benchmarks/peer_timed_run.py SECONDS.json run MODEL ...

Other methods are timed around the same loop: what surrounds it, checks and measurements, is no part of either.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from peer_cells import Seconds, stopwatch

from compressor import training
from compressor.cli import main
from compressor.stages import trials
from compressor.training import views


def timed(path: Path) -> None:
    """Have what chooses, trains and asks the teacher write their time to ``path``, before a stage imports them."""
    spent = Seconds()

    def around(work: Callable[..., Any]) -> Callable[..., Any]:
        def watched(*arguments: Any, **options: Any) -> Any:
            nonlocal spent
            with stopwatch() as taken:
                result = work(*arguments, **options)
            spent += taken[0]
            path.write_text(json.dumps({"wall": spent.wall, "processor": spent.processor}))
            return result

        return watched

    training.train, views.ask, trials.settle = around(training.train), around(views.ask), around(trials.settle)


if __name__ == "__main__":
    timed(Path(sys.argv.pop(1)))
    main()
