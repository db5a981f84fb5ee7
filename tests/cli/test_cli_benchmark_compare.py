import json
from pathlib import Path

import pytest

from compressor.codec import decode_report, read_report


@pytest.fixture(scope="module")
def measured(finished, compress, tmp_path_factory):
    out = tmp_path_factory.mktemp("measured") / "bench.json"
    pair = finished[0] / "dense.onnx", finished[0] / "small.onnx"
    return out, compress("benchmark", *pair, "--max-seconds", 0.5, "--out", out, "--json")


def test_benchmark_prints_the_report_that_it_writes(measured):
    out, done = measured
    assert decode_report(done.stdout.encode(), "stdout") == read_report(out)


def test_benchmark_writes_three_files(measured):
    out, _ = measured
    assert sorted(path.name for path in out.parent.iterdir()) == ["bench.html", "bench.json", "bench.md"]


def test_benchmark_for_people_ends_in_a_verdict(finished, compress):
    done = compress("benchmark", finished[0] / "dense.onnx", finished[0] / "small.onnx", "--max-seconds", 0.5)
    assert "small against dense, batch 1:" in done.stdout
    assert "Warning" not in done.stdout


def test_benchmark_refuses_another_ending_before_it_measures(finished, compress):
    done = compress("benchmark", finished[0] / "dense.onnx", "--out", "bench.html")
    assert (done.exit_code, done.error) == (2, ["Error: --out bench.html must end in .json"])


@pytest.mark.parametrize("ending", [".json", ".html", ".md"])
def test_benchmark_overwrites_none_of_its_three_files_unasked(finished, compress, ending):
    Path(f"bench{ending}").write_text("mine")
    done = compress("benchmark", finished[0] / "dense.onnx", "--out", "bench.json")
    assert done.exit_code == 2
    assert f"bench{ending} exists" in done.error[0]
    assert Path(f"bench{ending}").read_text() == "mine"


def test_compare_puts_reports_side_by_side(finished, measured, compress):
    report, (bench, _) = finished[0] / "report.json", measured
    done = compress("compare", report, bench, "--json")
    rows = json.loads(done.stdout)["rows"]
    assert [row["label"] for row in rows] == [str(report)] * 2 + [str(bench)] * 2


def altered(path, name, change):
    document = json.loads(path.read_text())
    change(document)
    Path(name).write_text(json.dumps(document))
    return name


def test_compare_warns_about_different_processors(measured, compress):
    def change(document):
        document["environment"]["cpu_model"] = "another"

    done = compress("compare", measured[0], altered(measured[0], "other.json", change))
    assert done.exit_code == 0
    assert "Warning: The measurements differ in processor" in done.stderr


def test_gates_that_pass_are_exit_code_0(finished, compress):
    report = finished[0] / "report.json"
    done = compress("compare", report, report, "--max-drop", 50, "--min-speedup", 0.01)
    assert (done.exit_code, done.error) == (0, [])


@pytest.mark.parametrize("gate", [("--max-drop", 0.1), ("--min-speedup", 1000)])
def test_a_gate_that_fails_is_exit_code_1(finished, compress, gate):
    report = finished[0] / "report.json"
    done = compress("compare", report, report, *gate, "--json")
    assert done.exit_code == 1
    assert len(json.loads(done.stdout)["failures"]) == len(done.error) == 1
    assert "95 % interval" in done.error[0]


@pytest.mark.parametrize("name", ["sides.html", "sides.md"])
def test_compare_writes_what_it_shows(finished, compress, name):
    report = finished[0] / "report.json"
    done = compress("compare", report, report, "--out", name)
    assert f"Wrote {name}" in done.stdout
    assert "small" in Path(name).read_text()


def test_one_report_cannot_be_compared(finished, compress):
    done = compress("compare", finished[0] / "report.json")
    assert (done.exit_code, done.error) == (2, ["Error: compare needs at least two reports, got 1"])


@pytest.mark.parametrize("gate", ["--max-drop", "--min-speedup"])
def test_a_gate_that_is_no_number_is_refused(finished, compress, gate):
    report = finished[0] / "report.json"
    done = compress("compare", report, report, gate, "nan")
    assert (done.exit_code, done.error) == (2, [f"Error: {gate} must be a finite number, got nan"])


def test_what_a_report_says_cannot_steer_the_terminal(measured, compress):
    def change(document):
        document["environment"] |= {"cpu_model": "\x1b[2Jx", "os": "\x1b]0;owned\x07"}
        document["warnings"] = ["\x1b[31mred\x9b"]
        document["variants"][0]["name"] = "\x1b[1mdense"

    done = compress("compare", measured[0], altered(measured[0], "other.json", change))
    assert done.exit_code == 0
    assert "[2Jx" in done.stderr
    assert all(line.isprintable() for line in (done.stdout + done.stderr).splitlines())
