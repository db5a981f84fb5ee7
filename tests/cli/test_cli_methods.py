"""Methods and penalties on the command line, from fine-tuning to the shrunk network."""

import json
import re
from pathlib import Path

import pytest
from torch import nn

from compressor.checkpoints import load
from compressor.methods import METHODS
from compressor.splitting.paper_groups import sparsity

TINY = ("--epochs", 2, "--max-train", 128, "--lr", 0.01, "--quiet")
# Strong enough for zeros within two short epochs, weak enough for the network to live.
STRONG = {
    "paper": ("--penalty", "l1", "--strength", 0.2, "--growth", "1.5:1"),
    "rvsm": ("--penalty", "transformed-l1", "--penalty-arg", "a=0.5", "--strength", 2e-4),
    "rgsm": ("--strength", 0.6, "--group-strength", 1e-3),
}
every_method = pytest.mark.parametrize("method", STRONG)


@pytest.fixture(scope="module")
def made(compress, tmp_path_factory):
    """A checkpoint by every method, and what the command printed for people and for machines."""
    folder = tmp_path_factory.mktemp("methods")

    def make(method):
        command = ("fine-tune", "digits_lenet", "--method", method, *STRONG[method], *TINY, "--overwrite")
        out = folder / f"{method}.pt"
        people, machine = (compress(*command, "--out", out, *form) for form in ((), ("--json",)))
        assert (people.exit_code, machine.exit_code) == (0, 0), people.stderr + machine.stderr
        return out, people.stdout, json.loads(machine.stdout)

    return {method: make(method) for method in STRONG}


def zeros_of(path):
    """Exact zeros in the weights of a checkpoint."""
    modules = load(path).model.modules()
    return sparsity([module.weight for module in modules if isinstance(module, nn.Conv2d | nn.Linear)])


def shown(text):
    """The rows of the table of zeros: name -> shares of weights and groups, in percent."""
    rows = re.findall(r"^ *(W at 1e-05|V) +([\d.]+) % +([\d.]+) %", text, re.MULTILINE)
    return {name: (float(weights), float(groups)) for name, weights, groups in rows}


@every_method
def test_people_read_what_machines_read(made, method):
    _, text, document = made[method]
    assert "zero before projection" in text
    for name, (weights, groups) in shown(text).items():
        found = document["projection"]["sparsity"][name]
        assert (weights, groups) == pytest.approx((100 * found["weights"], 100 * found["groups"]), abs=0.005)


@every_method
def test_w_and_v_are_both_reported(made, method):
    assert list(shown(made[method][1])) == ["W at 1e-05", "V"]
    assert made[method][2]["projection"]["sparsity"]["V"]["weights"] > 0.01


def test_the_zeros_of_v_in_method_paper_are_those_that_projection_sets(made):
    out, _, document = made["paper"]
    total = 430_500
    # Exact zeros of the file are those of V, and of channels that became useless.
    projection = document["projection"]
    assert projection["sparsity"]["V"]["weights"] * total == pytest.approx(projection["entries_zeroed"], abs=2)
    assert zeros_of(out).weights >= projection["sparsity"]["V"]["weights"]
    assert projection["sparsity"]["W at 1e-05"]["weights"] < 0.01


def test_w_is_v_at_the_end_of_rvsm(made):
    out, _, document = made["rvsm"]
    table = document["projection"]["sparsity"]
    assert table["W at 1e-05"]["weights"] == table["V"]["weights"]
    assert zeros_of(out).weights == pytest.approx(table["V"]["weights"], abs=1e-3)
    assert document["projection"]["entries_zeroed"] == 0


def test_rgsm_zeroes_whole_input_channels(made):
    convolution = load(made["rgsm"][0]).model.conv2.weight.detach()
    gone = (convolution == 0).all((0, 2, 3))
    assert 0 < int(gone.sum()) < len(gone)


@every_method
def test_what_is_kept_is_what_shrinking_leaves(made, method, compress):
    out, _, document = made[method]
    done = compress("shrink", out, "--json", "--out", "small.pt")
    if document["projection"]["macs"][0] == document["projection"]["macs"][1]:
        assert "has no zero channel that can be removed" in done.error[0]
    else:
        assert json.loads(done.stdout)["macs"] == document["projection"]["macs"]


@pytest.mark.parametrize("method", ["paper", "rgsm"])
def test_these_trainings_do_free_channels(made, method):
    dense, kept = made[method][2]["projection"]["macs"]
    assert kept < dense


SLIMMING = ("--method", "slimming", "--strength", 0.9, "--beta", 10, "--epochs", 6, "--lr", 0.1, "--batch-size", 16)


def test_slimming_removes_channels_whose_scales_are_zero(tiny, compress):
    command = ("fine-tune", tiny.checkpoint, "--arch", tiny.arch, *SLIMMING, "--align", 1, "--quiet", "--overwrite")
    people, machine = (compress(*command, "--out", "a.pt", *form) for form in ((), ("--json",)))
    document = json.loads(machine.stdout)
    projection = document["projection"]
    zeros = {name: f"{100 * share['groups']:.2f} %" for name, share in projection["sparsity"].items()}
    assert list(zeros) == ["gamma at 1e-05", "xi"]
    assert re.search(rf"^ *xi .*{re.escape(zeros['xi'])} *$", people.stdout, re.MULTILINE)
    before, after = (sum(pair[part] for pair in projection["channels"].values()) for part in (0, 1))
    assert 0 < after < before == 32
    assert projection["died"] == round(32 * projection["sparsity"]["xi"]["groups"])
    # What removed channels made was constant.
    assert document["reestimated"]["value"] >= document["trained"]["value"] - 0.1
    done = compress("shrink", "a.pt", "--arch", tiny.arch, "--align", 1, "--out", "small.pt", "--json")
    assert json.loads(done.stdout)["macs"] == projection["macs"]
    stage = load(Path("small.pt"), arch=tiny.arch).metadata.history[-2]
    assert (stage["method"], stage["penalty"], stage["strength"], stage["beta"]) == (
        "slimming",
        "l1",
        0.9,
        [10.0, 10.0],
    )


def test_slimming_of_a_network_without_norms_is_refused(compress):
    done = compress("fine-tune", "digits_lenet", "--method", "slimming", "--epochs", 1, "--quiet")
    words = (
        "--method slimming penalises the scales of BatchNorm, and no trainable layer has one; "
        "methods paper, rvsm and rgsm penalise other weights"
    )
    assert (done.exit_code, done.error) == (2, [f"Error: {words}"])
    assert not list(Path().iterdir())


@every_method
def test_the_settings_are_in_the_file(made, method):
    stage = load(made[method][0]).metadata.history[-1]
    assert stage["method"] == method
    assert stage["growth"] == ([1.5, 1] if method == "paper" else None)
    assert stage["penalty_args"] == ({"a": "0.5"} if method == "rvsm" else {})


def test_a_group_penalty_alone_keeps_half_of_the_macs(tiny, compress):
    args = ("--group-penalty", "l0", "--epochs", 1, "--out", "a.pt", "--json")
    document = json.loads(compress("fine-tune", tiny.checkpoint, "--arch", tiny.arch, *args).stdout)
    dense, kept = document["projection"]["macs"]
    assert kept <= 0.5 * dense


def test_without_a_group_penalty_single_weights_alone_are_penalised(tiny, compress):
    args = ("--penalty", "l0", "--group-penalty", "none", "--epochs", 1, "--out", "a.pt", "--json")
    document = json.loads(compress("fine-tune", tiny.checkpoint, "--arch", tiny.arch, *args).stdout)
    assert document["projection"]["macs"] is None
    assert document["projection"]["zeros"] > 0


def test_neither_penalty_only_trains(tiny, compress):
    args = ("--penalty", "none", "--group-penalty", "none", "--epochs", 1, "--json")
    document = json.loads(compress("fine-tune", tiny.checkpoint, "--arch", tiny.arch, *args).stdout)
    assert (document["out"], document["projection"]) == ("tiny-tuned.pt", None)


OTHER_PENALTIES = ("--penalty", "scad", "--penalty-arg", "a=4", "--strength", 0.2, "--beta", "1:500")


@pytest.fixture(scope="module")
def with_other_penalties(tiny, compress, tmp_path_factory, run_options):
    folder = tmp_path_factory.mktemp("runs") / "mcp"
    command = ("run", tiny.checkpoint, "--arch", tiny.arch, *run_options, "--out", folder, "--quiet")
    done = compress(*command, *OTHER_PENALTIES)
    assert done.exit_code == 0, done.stderr
    return folder, command


def test_a_run_takes_every_penalty(with_other_penalties):
    settings = json.loads((with_other_penalties[0] / "report.json").read_text())["settings"]
    assert (settings["penalty"], settings["penalty_args"], settings["strength"]) == ("scad", {"a": "4"}, 0.2)
    assert settings["beta"] == "1:500"


def test_the_same_run_again_repeats_nothing(with_other_penalties, compress):
    folder, command = with_other_penalties
    before = (folder / "sparse.pt").stat().st_mtime_ns
    assert compress(*command, *OTHER_PENALTIES).exit_code == 0
    assert (folder / "sparse.pt").stat().st_mtime_ns == before


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        (("--strength", 0.3), "strength"),
        (("--penalty", "mcp"), "penalty"),
        (("--penalty-arg", "a=3"), "penalty_args"),
        (("--beta", "1:1000"), "beta"),
        (("--layers", "3"), "layers"),
    ],
)
def test_a_run_with_other_penalties_is_not_resumed(with_other_penalties, compress, changes, name):
    done = compress(*with_other_penalties[1], *OTHER_PENALTIES, *changes)
    assert done.exit_code == 2
    assert len(done.error) == 1
    assert name in done.error[0]


@pytest.mark.parametrize("method", sorted(METHODS.keys() - {"budget"}))
def test_a_run_by_a_method_without_target_says_what_to_do_instead(tiny, compress, method):
    done = compress("run", tiny.checkpoint, "--arch", tiny.arch, "--method", method)
    words = f"a run needs a target, which --method {method} does not have; use compress fine-tune, then compress shrink"
    assert (done.exit_code, done.error) == (2, [f"Error: {words}"])
    assert not list(Path().iterdir())


def test_list_methods_shows_their_defaults(compress):
    rows = {row["name"]: row for row in json.loads(compress("list", "methods", "--json").stdout)}
    assert rows.keys() == METHODS.keys()
    assert (rows["budget"]["beta"], rows["paper"]["beta"], rows["rvsm"]["strength"]) == ("1:1000", "2.5", 1e-6)
