from __future__ import annotations

import copy
import json

import any_beta
import compressing
import numpy as np
import projection_cost
import pytest
import torch
from compressing import METHODS, STAGES, Case, Dense, Job, compress
from plain_norms import rescale, rescaling
from projection_tables import accuracy_rows, chart, cost_rows, difference
from torch import nn
from trainings import finished

from compressor import Splitting
from compressor.checkpoints import load
from compressor.equivalence import output_difference
from compressor.groups import find_groups
from compressor.training.recipe import Recipe

EXAMPLE = torch.zeros(2, 1, 8, 8)


def small_network(seed=0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.Flatten(), nn.Linear(1024, 10)
        )
        model(torch.randn(32, 1, 8, 8))
    return model.eval()


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """Bright and dark images of 28x28, in a file that the npz reader takes."""
    path = tmp_path_factory.mktemp("images") / "two.npz"
    generator = np.random.default_rng(0)
    labels = np.arange(120) % 2
    pixels = generator.integers(0, 100, (120, 1, 28, 28)) + 150 * labels[:, None, None, None]
    np.savez(path, x=pixels.astype(np.uint8), y=labels)
    return f"npz:{path}"


@pytest.fixture(scope="module")
def results(images, tmp_path_factory):
    """Every method once, on LeNet-5."""
    recipe = Recipe(epochs=1, lr=0.05, batch_size=16)
    case = Case(arch="lenet5", data=images, dense=recipe, epochs=1)
    dense = Dense(case=case, split=0, seed=0, folder=tmp_path_factory.mktemp("trainings"))
    compressing.train_dense(dense)
    return [compress(Job(dense=dense, method=method, seed=0, target=0.5)) for method in METHODS]


def pairs(*wrongs, images=100):
    return [{"images": images, "wrong": wrong} for wrong in wrongs]


def test_every_method_meets_the_target(results):
    assert all(result["MACs"] <= 0.5 for result in results)


def test_only_sparse_training_has_its_own_end(results):
    assert {result["method"] for result in results if "trained" in result["wrong"]} == {
        name for name, method in METHODS.items() if not method.one_shot
    }


def test_removal_changes_no_answer(results):
    assert all(result["wrong"]["removed"] == result["wrong"]["projected"] for result in results)


def test_the_tables_have_a_row_for_every_method_and_a_column_for_every_stage(results):
    accuracy, cost = accuracy_rows({"pool": results}), cost_rows({"pool": results})
    assert [row["method"] for row in accuracy] == [row["method"] for row in cost] == list(METHODS)
    assert set(STAGES) < set(accuracy[0])


def test_the_chart_has_a_panel_for_every_pool(results):
    assert len(chart({"one": results, "other": results}, [], {}).axes) == 2


def test_lost_and_gained_images_are_counted_in_pairs():
    before, after = pairs([1, 2], [3]), pairs([2, 4, 5], [])
    assert difference(before, after)[:3] == (2, 2, 0.0)


def test_no_difference_still_has_an_interval():
    lost, gained, points, low, high = difference(pairs([1]), pairs([1]))
    assert (lost, gained, points) == (0, 0, 0)
    assert low == pytest.approx(-high)
    assert 1 < high < 3


def test_the_interval_is_that_of_agresti_and_min():
    # Cells 4.5 and 0.5 of 102: 4 / 102 -+ 1.96 sqrt(5 - 16 / 102) / 102.
    low, high = difference(pairs([]), pairs([1, 2, 3, 4]))[3:]
    assert (low, high) == pytest.approx((-0.307, 8.150), abs=1e-3)


def test_scaled_filters_leave_the_outputs():
    model = small_network()
    other = copy.deepcopy(model)
    rescale(other, find_groups(model, EXAMPLE), torch.Generator().manual_seed(0))
    assert not torch.equal(model[0].weight, other[0].weight)
    assert output_difference(model, other, torch.randn(4, 1, 8, 8)) < 1e-5


def test_scales_of_prunable_filters_change_what_plain_norms_keep_and_not_ours():
    found = rescaling(load("digits_resnet"), 0.5, 1, lambda model: 0.0)
    changed = {result["saliency"]: result["replaced"] for result in found if result["scaled"] != "all"}
    assert changed["ours"] == [0]
    assert changed["plain norms"][0] > 20


def test_the_gradient_pull_points_from_u_to_w():
    model = small_network()
    splitting = Splitting(model, EXAMPLE, total_steps=1, target_macs=0.5, beta=(3.0, 3.0))
    splitting.step = 1
    splitting.revise()
    before = model[0].weight.detach().clone()
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    any_beta.add_pulls(model, [splitting])
    assert torch.equal(model[0].weight, before)
    pulled = model[0].weight.grad.flatten(1).any(1)
    assert int(pulled.sum()) == 16 - splitting.kept[0]
    torch.testing.assert_close(model[0].weight.grad[pulled], 3 * before[pulled])


@pytest.mark.parametrize(("pull", "finite"), [("implicit, U", True), ("gradient, U", False)])
def test_a_large_beta_kills_the_gradient_pull_and_not_ours(pull, finite):
    job = any_beta.Pull(
        network="digits_lenet", batch=32, optimizer="Nesterov SGD", pull=pull, beta=(1e4, 1e4), steps=20
    )
    assert any_beta.train(job)["finite"] is finite


def test_every_training_of_the_sweep_has_its_own_file():
    jobs = any_beta.sweep("digits_lenet", 64, 200)
    assert len({job.file for job in jobs}) == len(jobs) == 3 * (1 + 4 * 6)


def test_a_finished_training_is_not_repeated(tmp_path):
    job = any_beta.sweep("digits_lenet", 64, 200)[0]
    (tmp_path / job.file).write_text(json.dumps({"loss": 1}))
    assert finished(any_beta.train, [job], tmp_path, 1) == [{"loss": 1}]


def test_lenet_without_mnist_says_what_is_missing(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["projection_cost.py"])
    with pytest.raises(SystemExit, match="2"):
        projection_cost.main()
    assert "lenet needs --mnist" in capsys.readouterr().err
