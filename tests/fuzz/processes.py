"""The parts of a campaign as processes side by side: each imports everything, and forks its own children."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any


def environment() -> dict[str, str]:
    """One thread for each process, no telemetry of onnxruntime's, and this very package."""
    path = os.pathsep.join(filter(None, (str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH"))))
    settings = {"OMP_NUM_THREADS": "1", "ORT_DISABLE_TELEMETRY": "1", "MPLBACKEND": "Agg", "PYTHONPATH": path}
    return {**os.environ, **settings}


def made_bases(folder: Path) -> Path:
    """The bases in ``folder``, made there by a process of its own unless they are."""
    if not (folder / "modules.json").exists():
        subprocess.run([sys.executable, "-m", "fuzz.bases", str(folder)], check=True, env=environment())
    return folder


def side_by_side(module: str, parts: list[list[object]]) -> list[Any]:
    """What ``python -m`` the ``module`` of this package prints as JSON for each of the ``parts``, its arguments."""
    command = [sys.executable, "-m", f"fuzz.{module}"]
    started = [
        subprocess.Popen([*command, *map(str, part)], stdout=subprocess.PIPE, env=environment()) for part in parts
    ]
    answers = [process.communicate()[0] for process in started]
    if any(process.returncode for process in started):
        raise RuntimeError(f"{module} ended with {[process.returncode for process in started]}")
    return [json.loads(answer) for answer in answers]
