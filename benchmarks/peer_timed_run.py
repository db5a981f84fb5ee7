"""``compress run`` with the same arguments, which also writes how long its training loops took.

    python benchmarks/peer_timed_run.py SECONDS.json run MODEL ...

Other methods are timed around the same loop: what surrounds it, checks and measurements, is no part of either.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from peer_cells import Seconds, stopwatch

import compressor.training as training
from compressor.cli import main


def timed(path: Path) -> None:
    """Put a training loop that writes its time to ``path`` in the place of the real one, before a stage imports it."""
    loop, spent = training.train, Seconds()

    def train(*arguments: Any, **options: Any) -> Any:
        nonlocal spent
        with stopwatch() as taken:
            epochs = loop(*arguments, **options)
        spent += taken[0]
        path.write_text(json.dumps({"wall": spent.wall, "processor": spent.processor}))
        return epochs

    training.train = train


if __name__ == "__main__":
    timed(Path(sys.argv.pop(1)))
    main()
