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
    assert [row["label"] for row in rows] == [report.parent.name] * 2 + [bench.stem] * 2


def test_compare_leads_with_the_difference(finished, compress):
    report = finished[0] / "report.json"
    done = compress("compare", report, altered(report, "other.json", retrained))
    assert done.stdout.startswith("other against finished: accuracy ±0.00 points (within noise: CI ")
    (difference,) = json.loads(compress("compare", report, "other.json", "--json").stdout)["differences"]
    assert (difference["label"], difference["base"], difference["metric_change"]) == ("other", "finished", 0.0)
    assert difference["ci95"][0] < 0 < difference["ci95"][1]
    assert difference["macs"] == difference["size"] == 1.0


def test_compare_takes_more_than_two_reports(finished, compress):
    report = finished[0] / "report.json"
    names = [altered(report, f"{name}.json", retrained) for name in ("one", "two")]
    done = compress("compare", report, *names, "--max-drop", 50)
    assert done.stdout.startswith("2 reports against finished.")
    assert "one against finished: " in done.stdout
    assert "two against finished: " in done.stdout
    assert done.stdout.count("Gate --max-drop 50 holds: ") == 2


def altered(path, name, change):
    document = json.loads(path.read_text())
    change(document)
    Path(name).write_text(json.dumps(document))
    return name


def retrained(document):
    """Another network, that is right on the same samples."""
    for variant in document["benchmark"]["variants"]:
        variant["sha256"] = "0" * 64


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
    done = compress("compare", report, altered(report, "other.json", retrained), *gate, "--json")
    assert done.exit_code == 1
    assert len(json.loads(done.stdout)["failures"]) == len(done.error) == 1
    assert "95 % interval" in done.error[0]


@pytest.mark.parametrize("name", ["sides.html", "sides.md"])
def test_compare_writes_what_it_shows(finished, compress, name):
    report = finished[0] / "report.json"
    done = compress("compare", report, report, "--out", name)
    assert f"Wrote {name}" in done.stdout
    assert "small" in Path(name).read_text()


def test_one_report_is_held_against_its_own_dense_network(finished, compress):
    report = finished[0] / "report.json"
    done = compress("compare", report, "--max-drop", 100, "--min-speedup", 1000)
    assert done.exit_code == 1
    assert "compute, accuracy " in done.stdout.splitlines()[0]
    assert "Gate --max-drop 100 holds: accuracy changed by " in done.stdout
    assert "Gate --min-speedup 1000 fails: see the error." in done.stdout
    assert "1000x is required" in done.error[0]


def test_no_report_at_all_is_wrong_usage(compress):
    assert compress("compare").exit_code == 2


@pytest.mark.parametrize("gate", ["--max-drop", "--min-speedup"])
def test_a_gate_that_is_no_number_is_refused(finished, compress, gate):
    report = finished[0] / "report.json"
    for limit in ("nan", "inf", "-inf"):
        done = compress("compare", "neither.json", "is-there.json", gate, limit)
        assert (done.exit_code, done.error) == (2, [f"Error: {gate} must be a finite number, got {limit}"])
        done = compress("run", "missing.pt", gate, limit)
        assert (done.exit_code, done.error) == (2, [f"Error: {gate} must be a finite number, got {limit}"])
    assert compress("compare", report, report, gate, "two").error == [
        f"Error: Invalid value for '{gate}': 'two' is not a valid number, for example 0.5"
    ]


def test_a_report_passes_against_itself_and_says_so(finished, compress):
    report = finished[0] / "report.json"
    done = compress("compare", report, report, "--max-drop", 0.5)
    assert (done.exit_code, done.error) == (0, [])
    assert (
        "Gate --max-drop 0.5 holds: finished (2): accuracy is that of the same network, byte for byte: no change; "
        "0.5 is allowed."
    ) in " ".join(done.stdout.split())


def test_another_network_is_compared_on_the_same_samples(finished, compress):
    report = finished[0] / "report.json"
    done = compress("compare", report, altered(report, "other.json", retrained), "--max-drop", 10)
    assert done.exit_code == 0
    assert "with the same 48 samples, of which 0 are right in only one of the two," in " ".join(done.stdout.split())


def test_reports_without_outcomes_are_taken_as_independent_and_said_to_be(finished, compress):
    def forget(document):
        retrained(document)
        for stage in document["stages"]:
            del stage["metric"]["outcomes"]

    report = finished[0] / "report.json"
    done = compress("compare", report, altered(report, "old.json", forget), "--max-drop", 0.5)
    assert done.exit_code == 1
    assert "48 samples, taken as independent because single outcomes are not stored" in done.error[0]


def test_outcomes_that_are_no_base64_are_one_line(finished, compress):
    def damage(document):
        document["stages"][-1]["metric"]["outcomes"]["right"] = "!!"

    report = finished[0] / "report.json"
    done = compress("compare", report, altered(report, "bad.json", damage))
    assert (done.exit_code, len(done.error)) == (1, 1)
    assert "stages[6].metric.outcomes.right" in done.error[0]


def test_what_a_report_says_cannot_steer_the_terminal(measured, compress):
    def change(document):
        document["environment"] |= {"cpu_model": "\x1b[2Jx", "os": "\x1b]0;owned\x07"}
        document["warnings"] = ["\x1b[31mred\x9b"]
        document["variants"][0]["name"] = "\x1b[1mdense"

    done = compress("compare", measured[0], altered(measured[0], "other.json", change))
    assert done.exit_code == 0
    assert r"\x1b[2Jx" in done.stderr
    assert all(line.isprintable() for line in (done.stdout + done.stderr).splitlines())
