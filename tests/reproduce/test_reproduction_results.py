from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

import binary_teacher
import pytest
import relu_teacher
import results
from matplotlib.figure import Figure
from PIL import Image
from results import Reproduction, positive, publish

FOLDER = Path(results.__file__).parent


def picture_size(path):
    with Image.open(path) as picture:
        return picture.size


def example(**row):
    rows = [{"penalty": "l0", **row}]
    return Reproduction(name="example", settings={"d": 5}, tables={"a table": rows}, wall_s=1.26)


def test_publish_writes_the_rows_and_the_chart(tmp_path):
    publish(example(angle=0.25), Figure(), tmp_path)
    document = json.loads((tmp_path / "example.json").read_text())
    assert document["tables"] == {"a table": [{"penalty": "l0", "angle": 0.25}]}
    assert (document["settings"], document["wall_s"]) == ({"d": 5}, 1.3)
    assert picture_size(tmp_path / "example.png") == (640, 480)


def test_publish_prints_numbers_with_four_digits_and_says_where_there_is_none(tmp_path, capsys):
    publish(example(angle=0.123456, exact=True, first=None), Figure(), tmp_path)
    row = next(line for line in capsys.readouterr().out.splitlines() if "l0" in line)
    assert [cell.strip() for cell in row.strip("│").split("│")] == ["l0", "0.1235", "yes", "-"]


def test_the_document_names_versions_and_no_computer():
    document = example().document()
    assert set(document) == {"kind", "name", "settings", "tables", "wall_s", "threads", "versions"}
    assert set(document["versions"]) == {"compressor", "python", "torch", "numpy", "matplotlib"}


def test_a_result_that_is_not_a_number_is_not_written(tmp_path):
    with pytest.raises(ValueError, match="not JSON compliant"):
        publish(example(angle=float("nan")), Figure(), tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("text", ["0", "-1", "1.5", "many", "²"])
def test_a_count_must_be_a_whole_number_from_one_on(text):
    with pytest.raises(argparse.ArgumentTypeError, match="whole number from 1 on, got "):
        positive(text)


@pytest.mark.parametrize(
    ("script", "options"),
    [
        (relu_teacher, ["--iterations", "30", "--each", "1"]),
        (binary_teacher, ["--iterations", "30", "--sampled", "2"]),
    ],
)
def test_a_script_prints_its_tables_and_writes_json_and_chart(script, options, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(relu_teacher, "SWEEP_ITERATIONS", 20)
    script.main(["--seeds", "2", "--out", str(tmp_path), *options])
    document = json.loads((tmp_path / f"{script.NAME}.json").read_text())
    title, rows = next(iter(document["tables"].items()))
    assert title in capsys.readouterr().out
    assert {row["penalty"] for row in rows} == {"l0", "l1", "transformed-l1"}
    assert picture_size(tmp_path / f"{script.NAME}.png") > (1000, 400)


def test_a_script_runs_by_its_path():
    done = subprocess.run(
        [sys.executable, FOLDER / "binary_teacher.py", "--help"], capture_output=True, text=True, check=True
    )
    assert "--sampled" in done.stdout
