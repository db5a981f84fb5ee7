"""The tutorial shows what its commands print."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = Path(__file__).parent.parent / "docs" / "tutorial" / "first-compression.md"
SHOWN = re.compile(r"^```console\n\$ compress ([^\n]+)\n(.+?)\n```", re.MULTILINE | re.DOTALL)
PYTHON = re.compile(r"^```python\n(.*?)^```\n+```text\n(.*?)^```", re.MULTILINE | re.DOTALL)


def form(text):
    """The words, without numbers, table lines and widths of columns: those differ between machines."""
    text = re.sub(r"[−+±]?\d[\d.,e+-]*", "#", text).replace("─", "")
    return [" ".join(line.split()) for line in text.splitlines() if line.strip()]


@pytest.mark.slow
def test_every_command_prints_what_is_shown(tmp_path, environment):
    page = PAGE.read_text(encoding="utf-8")
    runs = [(["-m", "compressor", *shlex.split(line)], shown) for line, shown in SHOWN.findall(page)]
    runs += [(["-c", code], shown) for code, shown in PYTHON.findall(page)]
    assert len(runs) == 4
    for arguments, shown in runs:
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=tmp_path, env={**environment, "COLUMNS": "80"}, check=True, capture_output=True, text=True,
        )  # fmt: skip
        assert form(done.stdout) == form(shown)
