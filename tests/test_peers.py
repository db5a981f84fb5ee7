"""The comparison with other tools: its cells, interpolation, intervals and tables, and the rivals themselves."""

from __future__ import annotations

import math
import sys
from pathlib import Path

import peer_ours
import peer_rivals
import peers
import pytest
import torch
from peer_cells import (
    Accuracy,
    Cell,
    Key,
    Latency,
    Seconds,
    Subject,
    best_setting,
    chosen,
    read_cells,
    write_cell,
    write_packs,
)
from peer_table import Paired, at_equal_latency, at_equal_macs, beside, document, interpolated, paired, spread
from peer_training import Bench
from torch import nn

import compressor
from compressor import checkpoints
from compressor.training.recipe import Recipe

ROOT = Path(compressor.__file__).parent.parent


def cell(method="magnitude", target=3.0, seed=0, final=0.8, latency=0.5, setting="global", validation=0.8):
    return Cell(
        key=Key(network="net", method=method, setting=setting, target=target, seed=seed),
        accuracy=Accuracy(dense=0.9, untrained=0.1, sparse=None, removed=0.1, final=final, validation=validation),
        samples=1000,
        macs=(300, 100),
        parameters=(30, 10),
        seconds=Seconds(wall=10.0, processor=9.0),
        latency=None if latency is None else Latency(ratio=latency, ci95=(latency - 0.01, latency + 0.01)),
        settings={},
        versions={},
    )


def ours(**more):
    return cell("ours-macs", setting="default", **more)


# At equal latency


def test_accuracy_is_interpolated_over_the_logarithm_of_latency():
    assert interpolated([(0.25, 0.7), (1.0, 0.9)], 0.5) == pytest.approx(0.8)
    assert interpolated([(1.0, 0.9), (0.5, 0.8), (0.25, 0.7)], 0.5) == 0.8


def test_there_is_no_accuracy_outside_of_the_curve():
    assert interpolated([(0.25, 0.7), (0.5, 0.8)], 0.6) is None
    assert interpolated([(0.25, 0.7), (0.5, 0.8)], 0.2) is None
    assert interpolated([], 0.5) is None


def test_the_best_of_two_networks_at_one_latency_counts():
    assert interpolated([(0.5, 0.8), (0.5, 0.7)], 0.5) == 0.8


def test_only_cells_of_the_same_seed_that_were_timed_make_a_curve():
    theirs = [cell(latency=0.25, final=0.7), cell(latency=1.0, final=0.9, target=2), cell(seed=1, latency=0.5)]
    assert at_equal_latency(ours(latency=0.5), theirs) == pytest.approx(0.8)
    assert at_equal_latency(ours(latency=None), theirs) is None
    assert at_equal_latency(ours(latency=0.5), [cell(latency=None)]) is None


# Intervals


def test_interval_of_paired_differences():
    # t of 2 degrees of freedom is 4.303, the standard deviation 1, of the mean 1 / sqrt(3).
    found = paired([1.0, 2.0, 3.0])
    assert found == Paired(2.0, pytest.approx(2 - 4.3027 / math.sqrt(3), abs=1e-3), pytest.approx(4.4842, abs=1e-3), 3)
    assert str(found) == "+2.00 [-0.48, +4.48], n = 3"


def test_a_single_difference_has_no_interval():
    assert str(paired([-1.0])) == "-1.00, n = 1"
    assert paired([]) is None


def test_ours_is_put_beside_the_best_of_the_others():
    cells = [cell(final=0.7), cell("taylor", final=0.75), ours(final=0.8), ours(final=0.9, target=5)]
    name, differences = beside([cells[2]], cells, at_equal_macs)
    assert name == "taylor"
    assert differences == [pytest.approx(5.0)]


def test_a_method_that_lacks_a_seed_is_not_the_best():
    cells = [cell(final=0.7), cell(final=0.7, seed=1), cell("taylor", final=0.9)]
    name, differences = beside([ours(), ours(seed=1)], cells, at_equal_macs)
    assert name == "magnitude"
    assert differences == [pytest.approx(10.0)] * 2


# Settings are chosen by the validation part with the first seed


def test_setting_is_chosen_on_the_validation_part():
    cells = [cell(final=0.9, validation=0.5), cell(final=0.6, validation=0.7, setting="local")]
    assert best_setting(cells, "net", "magnitude") == "local"
    assert best_setting(cells, "net", "taylor") is None


def test_other_seeds_do_not_choose_and_only_shared_targets_count():
    cells = [
        cell(validation=0.8),
        cell(validation=0.7, setting="local"),
        cell(validation=0.9, setting="local", target=2),
        cell(validation=0.99, setting="local", seed=1),
    ]
    assert best_setting(cells, "net", "magnitude") == "global"
    assert {one.key.setting for one in chosen(cells)} == {"global"}


# Cells on disk


def test_cells_come_back_from_their_files_and_from_a_pack(tmp_path):
    cells = [cell(), cell(seed=1), ours(target=2.5)]
    for one in cells:
        write_cell(tmp_path / "results", one)
    assert read_cells(tmp_path / "results") == {one.key: one for one in cells}
    write_packs(tmp_path / "packs", cells)
    assert [path.name for path in (tmp_path / "packs").iterdir()] == ["net.json"]
    assert read_cells(tmp_path / "packs") == {one.key: one for one in cells}


def test_later_folders_overrule_earlier_ones(tmp_path):
    write_packs(tmp_path / "packs", [cell(final=0.5)])
    write_cell(tmp_path / "results", cell(final=0.6))
    [known] = read_cells(tmp_path / "packs", tmp_path / "results").values()
    assert known.accuracy.final == 0.6


def test_a_run_folder_beside_the_cells_is_none(tmp_path):
    write_cell(tmp_path, ours())
    report = ours().key.path(tmp_path, "") / "report.json"
    report.parent.mkdir()
    report.write_text("{}")
    assert len(read_cells(tmp_path)) == 1


# What is run


@pytest.fixture
def tried(tmp_path, monkeypatch):
    """Runs the script with a method that only counts; what it ran."""
    done = []

    def run(key, bench, results):
        done.append(key)
        if len(done) == 3:
            raise KeyboardInterrupt
        return cell(key.method, key.target, key.seed, setting=key.setting)

    def script(*arguments):
        monkeypatch.setattr(sys, "argv", ["peers.py", *map(str, arguments)])
        peers.main()
        return done

    monkeypatch.setattr(peer_rivals, "run", run)
    script("add", tmp_path, "net", "net.pt", "digits", "--held", "layer*.conv1", "--lr", 0.05)
    done.clear()
    return lambda *more: script("run", tmp_path, "--known", tmp_path / "none", "--targets", 3, *more)


def test_a_run_that_was_stopped_goes_on_where_it_was(tried):
    methods = ("--methods", "magnitude", "taylor", "hessian", "random")
    with pytest.raises(KeyboardInterrupt):
        tried(*methods)
    assert [key.method for key in tried(*methods)[2:]] == ["hessian", "hessian", "random"]
    assert len(tried(*methods)) == 5


def test_known_cells_are_run_again_when_asked(tried):
    assert len(tried("--methods", "magnitude")) == 1
    assert len(tried("--methods", "magnitude", "--again")) == 2


def test_settings_that_are_run(tried):
    first, *_ = tried("--methods", "magnitude")
    assert first.setting == "global"
    assert tried("--methods", "magnitude", "--settings", "all")[-1].setting == "local"


def test_subjects_are_kept(tried, tmp_path):
    assert peers.read_subjects(tmp_path)["net"] == Subject(
        checkpoint="net.pt", data="digits", held=("layer*.conv1",), lr=0.05
    )


def test_unknown_network_is_refused(tried):
    with pytest.raises(compressor.errors.UsageError, match="nothing was not added to"):
        tried("--networks", "nothing")


# Tables


def test_tables():
    text = document([cell(), cell(seed=1, final=0.82), ours(final=0.85), ours(seed=1, final=0.85)])
    assert "| equal MACs | ours-macs | net | 3x | magnitude | +4.00 [-8.71, +16.71], n = 2 |" in text
    assert "### net, 3x fewer MACs" in text
    assert "| magnitude (global) | 33.3 % ± 0.0 %" not in text
    assert "| magnitude (global) | 33.3 ± 0.0 % | 33.3 ± 0.0 % | 0.500 ± 0.000 | 10.00 ± 0.00 | — |" in text


def test_spread():
    assert spread([], 1) == "—"
    assert spread([1.25], 1) == "1.2"
    assert spread([1.0, 3.0], 2) == "2.00 ± 1.41"


@pytest.mark.parametrize("command", peers.COMMANDS)
def test_commands_have_help(command, capsys):
    with pytest.raises(SystemExit, match="0"):
        peers.parser().parse_args([command, "--help"])
    assert "results" in capsys.readouterr().out


def test_tables_are_put_between_the_markers_of_a_page(tmp_path, monkeypatch):
    write_packs(tmp_path / "packs", [cell()])
    page = tmp_path / "page.md"
    page.write_text(f"Before\n{peers.BEGIN}\nold\n{peers.END}\nAfter\n")
    monkeypatch.setattr(sys, "argv", ["peers.py", "table", str(tmp_path / "packs"), "--into", str(page)])
    peers.main()
    text = page.read_text()
    assert text == f"Before\n{peers.BEGIN}\n\n{document([cell()])}\n{peers.END}\nAfter\n"
    page.write_text("no markers")
    with pytest.raises(compressor.errors.UsageError, match="lacks the lines"):
        peers.main()


def test_the_page_shows_the_cells_that_are_kept():
    text = document(read_cells(ROOT / "docs" / "peers").values())
    assert f"{peers.BEGIN}\n\n{text}\n{peers.END}" in (ROOT / "docs" / "quality.md").read_text()


# The rivals, on a small network that was trained by nobody


class Small(nn.Module):
    def __init__(self):
        super().__init__()
        self.input_shape = (1, 8, 8)
        self.body = nn.Sequential(
            *(nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Conv2d(16, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Conv2d(32, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU()),
        )
        self.linear = nn.Linear(32, 10)

    def forward(self, x):
        return self.linear(self.body(x).mean((2, 3)))


@pytest.fixture
def bench(tmp_path, monkeypatch):
    """A bench around a random network on the digits, of which few are trained on."""
    (tmp_path / "small.py").write_text("from test_peers import Small\n\nbuild = Small\n")
    torch.manual_seed(0)
    model, path = Small(), tmp_path / "small.pt"
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.5)  # no two scales of BatchNorm alike
    checkpoints.save(model, path, arch=f"{tmp_path / 'small.py'}:build", input_shape=(1, 8, 8))
    return Bench("small", Subject(checkpoint=str(path), data="digits", max_train=200, epochs=2))


def widths(model):
    return [layer.out_channels for layer in model.modules() if isinstance(layer, nn.Conv2d)]


@pytest.mark.parametrize("everywhere", [True, False])
@pytest.mark.parametrize("name", peer_rivals.RIVALS)
def test_rivals_prune_to_the_macs_in_multiples(bench, name, everywhere):
    rival = peer_rivals.RIVALS[name]
    setting = peer_rivals.Setting(everywhere, rival.strengths[0] if rival.strengths else None)
    pruner = peer_rivals.pruner_of(rival, setting, bench.copy(), bench)
    peer_rivals.prune(rival, pruner, bench, 0.5, seed=0)
    assert 0.3 < bench.macs(pruner.model) / bench.macs(bench.dense.model) <= 0.5
    assert all(width % peer_rivals.ROUND_TO == 0 for width in widths(pruner.model))
    assert pruner.model(torch.randn(2, 1, 8, 8)).isfinite().all()
    assert pruner.model.linear.out_features == 10
    assert all(parameter.grad is None for parameter in pruner.model.parameters())


def test_layers_that_are_not_held_keep_their_channels(bench):
    bench.subject = Subject(checkpoint=bench.subject.checkpoint, data="digits", held=("body.4", "body.5"))
    rival = peer_rivals.RIVALS["magnitude"]
    pruner = peer_rivals.pruner_of(rival, peer_rivals.Setting(True), bench.copy(), bench)
    peer_rivals.prune(rival, pruner, bench, 0.5, seed=0)
    first, second, third = widths(pruner.model)
    assert (first, third) == (16, 32)
    assert second < 32


@pytest.mark.parametrize("name", [name for name, rival in peer_rivals.RIVALS.items() if rival.strengths])
def test_regularisers_shrink_what_they_are_to_shrink(bench, name):
    rival = peer_rivals.RIVALS[name]

    def norm(strength):
        model, recipe = bench.copy(), Recipe(epochs=2, seed=0, device="cpu")
        pruner = peer_rivals.pruner_of(rival, peer_rivals.Setting(True, strength), model, bench)
        bench.train(model, peer_rivals.regularised(recipe, pruner, recipe.steps(len(bench.data.train))))
        kind = nn.BatchNorm2d if name == "bn-scale" else nn.Conv2d
        return sum(float(layer.weight.detach().abs().sum()) for layer in model.modules() if isinstance(layer, kind))

    assert norm(0.2) < 0.9 * norm(1e-9)


def test_growing_regulariser_grows_as_often_as_in_the_longer_training(bench):
    rival = peer_rivals.RIVALS["growing-reg"]
    pruner = peer_rivals.pruner_of(rival, peer_rivals.Setting(True, 5e-4), bench.copy(), bench)
    grown = []
    pruner.update_reg = lambda: grown.append(1)
    pruner.regularize = lambda model: None
    recipe = peer_rivals.regularised(Recipe(epochs=1, device="cpu"), pruner, steps=7)
    for _ in range(7):
        recipe.regularise()
    assert len(grown) == peer_rivals.GROWTHS


def test_gradients_of_the_hessian_are_those_of_all_images(bench, monkeypatch):
    monkeypatch.setattr(peer_rivals, "SINGLE", 3)
    model = bench.copy()
    peer_rivals.squared_gradients(model, bench)
    expected = torch.zeros(10)
    for images, labels in peer_rivals._samples(bench, 3, 1):
        expected += (model(images).softmax(1)[0] - nn.functional.one_hot(labels[0], 10)) ** 2 / 3
    torch.testing.assert_close(model.linear.bias.grad, expected)


def test_a_cell_from_the_beginning_to_the_end(bench, tmp_path):
    bench.subject = Subject(checkpoint=bench.subject.checkpoint, data="digits", max_train=200, epochs=2)
    key = Key(network="small", method="group-norm", setting="global-0.005", target=2.0, seed=0)
    key.path(tmp_path, "").parent.mkdir(parents=True)
    done = peer_rivals.run(key, bench, tmp_path)
    assert done.kept <= 0.5
    assert None not in (done.accuracy.untrained, done.accuracy.sparse, done.accuracy.removed)
    assert done.settings["strength"] == 5e-3
    assert key.path(tmp_path, ".onnx").exists()
    assert (tmp_path / "small" / "group-norm@global-0.005" / "sparse-0.pt").exists()


def test_nothing_to_work_on(bench, tmp_path):
    bench.__dict__["dense"] = bench.dense.with_model(nn.Sequential(nn.Flatten(), nn.Linear(64, 10)))
    key = Key(network="small", method="bn-scale", setting="global-0.005", target=2.0, seed=0)
    with pytest.raises(compressor.errors.UsageError, match="bn-scale has nothing to work on in small"):
        peer_rivals.run(key, bench, tmp_path)


def test_ours_needs_a_reason_to_be_held(bench, tmp_path):
    key = Key(network="small", method="ours-macs-held", setting="default", target=2.0, seed=0)
    with pytest.raises(compressor.errors.UsageError, match="the other tools can remove all channels of small"):
        peer_ours.run(key, bench, tmp_path)


def test_a_latency_needs_the_network_of_as_many_macs(bench, tmp_path):
    key = Key(network="small", method="ours-latency", setting="default", target=2.0, seed=0)
    with pytest.raises(compressor.errors.CompressorError, match="needs a cell of ours-macs at 2x first"):
        peer_ours.run(key, bench, tmp_path)
