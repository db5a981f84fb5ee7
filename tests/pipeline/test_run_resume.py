"""A run that was stopped goes on where it stopped, and ends with the same numbers."""

import hashlib
import json
import shutil
from pathlib import Path

import pytest
import torch

from compressor.files import sha256
from compressor.pipeline import run_stages
from compressor.pipeline.replacing import take_place
from compressor.stages import STAGES as RUN_STAGES
from compressor.stages import TITLES

STAGES = tuple(TITLES)
TIMINGS = ("benchmark", "started", "duration_s", "warnings")


def read(folder):
    return json.loads((folder / "report.json").read_text())


def figures(folder):
    """Everything in a report that does not depend on the clock."""
    return {key: value for key, value in read(folder).items() if key not in TIMINGS}


def fingerprints(folder):
    return {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in ("recovered.pt", "small.onnx")}


@pytest.fixture
def run(compress, tiny, run_options):
    def again(out, *args):
        return compress("run", tiny.checkpoint, "--arch", tiny.arch, *run_options, "--out", out, *args)

    return again


@pytest.fixture
def copy(finished):
    shutil.copytree(finished[0], "copy")
    return Path("copy")


def stopping(stage, patch):
    """Make the next visit of ``stage`` end in an interrupt, after it has written something where it can."""

    def stop(*args, **options):
        raise KeyboardInterrupt

    def stop_after_an_epoch(*args, **options):
        return train(*args, on_epoch=lambda epoch: stop(), **options)

    def stop_at_the_second(network, path, *args, **options):
        return stop() if path.name == "small.onnx" else export(network, path, *args, **options)

    name, replacement = {
        "dense": ("evaluate", stop),
        "fine-tune": ("fine_tune", stop_after_an_epoch),
        "shrink": ("evaluate", stop),
        "recover": ("recover", stop_after_an_epoch),
        "export": ("export", stop_at_the_second),
        "benchmark": ("benchmark", stop),
    }[stage]
    train, export = getattr(run_stages, name), run_stages.export
    patch.setattr(run_stages, name, replacement)


def test_an_interrupt_in_every_stage_changes_no_number(run, finished, monkeypatch):
    for number, stage in enumerate(STAGES):
        with monkeypatch.context() as patch:
            stopping(stage, patch)
            done = run("r")
        told = f"{', '.join(STAGES[:number]) or 'no stage'} finished in r; the same command goes on"
        assert (done.exit_code, done.error[-1]) == (130, f"Stopped by Ctrl-C: {told}")
        done = sorted(path.stem for path in Path("r/stages").glob("*.json")) if number else []
        assert done == sorted(STAGES[:number])
    assert run("r").exit_code == 0
    assert figures(Path("r")) == figures(finished[0])
    assert fingerprints(Path("r")) == fingerprints(finished[0])
    assert not list(Path("r").rglob("*.part"))


def test_finished_stages_are_not_repeated(run, copy):
    before = {path: path.stat().st_mtime_ns for path in copy.rglob("*.*") if not path.name.startswith("report")}
    done = run(copy)
    assert done.stderr.count("finished before, not repeated") == len(STAGES)
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_a_lost_report_is_written_again(run, copy, finished):
    (copy / "report.json").unlink()
    run(copy)
    assert read(copy) == read(finished[0])


def test_leftovers_of_a_killed_process_are_removed(run, copy):
    for place in (copy, copy / "stages"):
        (place / ".small.onnx.abc.part").touch()
    run(copy)
    assert not list(copy.rglob("*.part"))


def test_a_kill_at_the_very_beginning_leaves_a_folder_that_can_be_used(run, monkeypatch):
    Path("r").mkdir()
    Path("r/.run.json.abc.part").touch()
    monkeypatch.setattr(run_stages.Stages, "run", lambda *args: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        run("r")
    assert [path.name for path in Path("r").iterdir()] == ["run.json"]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--epochs", 4), "epochs was 2 and is now 4"),
        (("--target-params", 0.5), "target_macs was 0.5 and is now None; target_params was None and is now 0.5"),
        (("--beta", "1:10"), "beta was '1:1000' and is now '1:10'"),
        (("--max-train", 100), "the data differ; train_samples was 173 and is now 100"),
        (("--split-seed", 1), "the data differ; split_seed was 0 and is now 1"),
        (("--normalize", "none"), "normalization was '0.4/0.25' and is now 'none'"),
    ],
)
def test_other_settings_are_refused_and_listed(run, copy, options, told):
    done = run(copy, *options)
    assert done.exit_code == 2
    assert done.error == [
        f"Error: copy holds a run with other settings ({told}); choose another --out, "
        "or pass --overwrite to start it again"
    ]
    assert (copy / "report.json").exists()


def test_another_network_is_refused(compress, tiny, copy, run_options):
    done = compress("run", tiny.sparse, "--arch", tiny.arch, *run_options, "--out", copy)
    assert (done.exit_code, "the weights differ" in done.error[0]) == (2, True)


@pytest.mark.parametrize("record", ["run.json", "stages/shrink.json"])
@pytest.mark.parametrize("content", ["", "{", "[]"])
def test_a_damaged_record_is_one_line(run, copy, record, content):
    (copy / record).write_text(content)
    done = run(copy, "--quiet")
    assert (done.exit_code, len(done.error)) == (1, 1)
    assert str(copy / record) in done.error[0]


PAYLOAD = """
from pathlib import Path
Path("harm").touch()

def build():
    raise RuntimeError("this must not run")
"""
# The file that the next stage reads, and the records that are missing so that it does.
READ_NEXT = {"sparse.pt": STAGES[2:], "shrunk.pt": STAGES[3:], "dense.pt": STAGES[4:], "recovered.pt": STAGES[4:]}


def forge(folder, file):
    """Write the hash of ``file`` into the record of its stage, as whoever exchanges it can."""
    for record in (folder / "stages").iterdir():
        kept = json.loads(record.read_text())
        if file in kept["files"]:
            kept["files"][file] = sha256(folder / file)
            record.write_text(json.dumps(kept))


@pytest.mark.parametrize("file", READ_NEXT)
@pytest.mark.parametrize("args", [{}, {"width": 16}])
def test_code_that_a_received_folder_names_is_not_run(run, copy, tiny, file, args):
    (copy / "payload.py").write_text(PAYLOAD)
    for stage in READ_NEXT[file]:
        (copy / "stages" / f"{stage}.json").unlink()
    content = torch.load(copy / file)
    # Another file, or the file of this command with other arguments than the command gave.
    ref = tiny.arch if args else f"{copy}/payload.py:build"
    content["header"]["architecture"] = {"ref": ref, "args": args}
    torch.save(content, copy / file)
    forge(copy, file)
    outcome = run(copy)
    assert outcome.exit_code == 1
    assert f"{file} is refused: it is a network of architecture {ref!r}" in outcome.error[-1]
    assert not Path("harm").exists()


def test_a_record_of_other_settings_is_refused_with_its_stage(run, copy):
    record = copy / "stages/recover.json"
    kept = json.loads(record.read_text())
    record.write_text(json.dumps({**kept, "settings": "0" * 64}))
    done = run(copy, "--quiet")
    assert done.exit_code == 1
    assert done.error == [
        "Error: the record of stage recover in copy belongs to a run with other settings; "
        "pass --overwrite to start the run again"
    ]


def test_a_record_of_another_run_is_refused(run, copy, monkeypatch):
    """As when the folders of two runs are copied over each other."""
    monkeypatch.setattr(run_stages, "fine_tune", lambda *args, **options: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        run("other", "--max-train", 100)
    shutil.copy("other/stages/dense.json", copy / "stages/dense.json")
    assert "the record of stage dense in copy belongs to a run with other settings" in run(copy).error[-1]


@pytest.mark.parametrize(
    "file", ["dense.pt", "sparse.pt", "fine-tune.jsonl", "shrunk.pt", "recovered.pt", "small.onnx"]
)
def test_a_file_that_was_exchanged_is_refused_with_its_stage(run, copy, file):
    stage = next(stage.name for stage in RUN_STAGES if file in stage.files)
    (copy / file).write_bytes((copy / file).read_bytes() + b"x")
    done = run(copy, "--quiet")
    assert done.exit_code == 1
    told = f"{copy / file} is not the file that stage {stage} wrote; pass --overwrite to start the run again"
    assert done.error == [f"Error: {told}"]


def test_files_that_were_deleted_are_missed_by_nobody_in_a_finished_run(run, copy):
    for name in ("dense.pt", "sparse.pt", "shrunk.pt"):
        (copy / name).unlink()
    assert run(copy).exit_code == 0


def test_records_of_a_version_without_hashes_are_taken_up(run, copy, finished):
    for record in (copy / "stages").iterdir():
        kept = json.loads(record.read_text())
        assert kept.pop("settings")
        assert (kept.pop("files") == {}) == (record.stem == "benchmark")
        record.write_text(json.dumps(kept))
    (copy / "stages/recover.json").unlink()
    assert run(copy).exit_code == 0
    assert fingerprints(copy) == fingerprints(finished[0])


@pytest.mark.parametrize("name", ["../secret", "/etc/hostname"])
def test_a_record_that_names_other_files_reads_none_of_them(run, copy, name):
    record = copy / "stages/shrink.json"
    kept = json.loads(record.read_text())
    record.write_text(json.dumps({**kept, "files": {**kept["files"], name: "0" * 64}}))
    assert run(copy).exit_code == 0


def test_a_diverged_training_is_in_the_report(run, copy):
    record = copy / "stages/fine-tune.json"
    kept = json.loads(record.read_text())
    kept["result"]["epochs"][0] |= {"loss": None, "lr_halved": True}
    record.write_text(json.dumps(kept))
    done = run(copy)
    warnings = read(copy)["warnings"]
    assert done.exit_code == 0
    told = "fine-tune: training diverged in epoch 1, which was undone and repeated with half the learning rate"
    assert told in warnings
    assert "Warning: fine-tune: training diverged in epoch 1" in done.stderr


def test_overwrite_starts_again_and_keeps_what_is_not_its_own(run, copy, monkeypatch):
    for name in ("notes.txt", "stages/notes.txt"):
        (copy / name).write_text("mine")
    monkeypatch.setattr(run_stages.Stages, "run", lambda *args: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        run(copy, "--overwrite", "--epochs", 4)
    assert [path.relative_to(copy).as_posix() for path in (copy / ".new").rglob("*")] == [".new/run.json"]
    assert json.loads((copy / ".new/run.json").read_text())["epochs"] == 4
    take_place(copy)
    names = sorted(path.relative_to(copy).as_posix() for path in copy.rglob("*"))
    assert names == ["notes.txt", "run.json", "stages", "stages/notes.txt"]
    assert json.loads((copy / "run.json").read_text())["epochs"] == 4


def test_a_target_that_cannot_be_reached_overwrites_nothing(run, copy):
    done = run(copy, "--overwrite", "--target-macs", 0.01)
    assert (done.exit_code, "is the least that can be reached" in done.error[0]) == (1, True)
    assert (copy / "report.json").exists()


def test_a_missed_target_is_exit_code_1_and_everything_is_kept(run, copy):
    record = copy / "stages/fine-tune.json"
    kept = json.loads(record.read_text())
    for target in kept["result"]["projection"]["targets"]:
        target |= {"reached": 0.6, "met": False}
    record.write_text(json.dumps(kept))
    done = run(copy)
    assert done.exit_code == 1
    assert (
        done.error[-1] == "Error: 0.600 of the MACs are left, but at most 0.5 was asked for; the result is kept in copy"
    )
    assert "Target missed: at most 50.0 % of the MACs asked, 60.0 % of the MACs reached." in done.stdout
    assert (copy / "report.html").exists()
