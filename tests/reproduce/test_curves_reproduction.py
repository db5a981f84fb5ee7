from __future__ import annotations

import json

import curves
import pytest
import torch
from curves import SHARES, STRENGTHS, measured, pruned, table, trained, zeros

from compressor.architectures.curves_cnn import curves_cnn
from compressor.data import curves as data_curves
from compressor.data import load_data


@pytest.fixture(scope="module")
def few():
    with pytest.MonkeyPatch.context() as patch:
        for part in ("TRAIN", "TEST"):
            patch.setattr(data_curves, part, data_curves.CHUNK)
        return load_data("curves", max_train=128)


def runs(*accuracies, zeros=90.0):
    return [{"rows": [{"name": "RVSM, l0", "zeros": zeros, "accuracy": accuracy}]} for accuracy in accuracies]


@pytest.mark.parametrize("count", [0, 1, 4000, 4608])
def test_pruning_zeroes_so_many_weights_of_the_large_layer(count):
    assert zeros(pruned(curves_cnn(), count)) == count


def test_pruning_takes_the_smallest_weights_and_leaves_the_network_given():
    model = curves_cnn()
    small = pruned(model, 1000)
    lost = model.fc.weight.abs()[small.fc.weight == 0]
    assert lost.max() <= small.fc.weight[small.fc.weight != 0].abs().min()
    assert zeros(model) == 0


@pytest.mark.parametrize("penalty", sorted(STRENGTHS))
def test_only_the_large_layer_gets_zeros(few, penalty):
    model = trained(few, 0, 1, penalty)
    assert zeros(model) > 0
    assert all((p != 0).all() for name, p in model.named_parameters() if p.ndim > 1 and name != "fc.weight")


def test_what_is_left_by_l0_lies_above_the_threshold(few, monkeypatch):
    monkeypatch.setitem(STRENGTHS, "l0", 1e-4)  # so little training leaves nothing above the real one
    weights = trained(few, 0, 1, "l0").fc.weight
    assert weights[weights != 0].abs().min() > (2 * 1e-4 / curves.BETA) ** 0.5


def test_without_a_penalty_there_are_no_zeros(few):
    assert zeros(trained(few, 0, 1, None)) == 0


def test_figures_are_percent(few):
    model = pruned(curves_cnn(), 2304)
    row = measured("half", model, few)
    assert row["zeros"] == 50
    assert 1 < row["accuracy"] <= 100


def test_a_row_has_mean_smallest_and_largest_of_the_seeds():
    (row,) = table(runs(98.0, 99.5, 99.9))
    assert [row[key] for key in ("test accuracy, %", "min", "max")] == pytest.approx([99.1333, 98.0, 99.9], abs=1e-3)


@pytest.mark.parametrize(("zeros", "held"), [(90.0, "2/3"), (80.0, "0/3")])
def test_the_claim_needs_accuracy_and_zeros_together(zeros, held):
    (row,) = table(runs(98.0, 99.5, 99.9, zeros=zeros))
    assert row["> 99 and > 86"] == held


@pytest.mark.slow
def test_the_script_prints_its_table_and_writes_json_and_chart(tmp_path, capsys):
    threads = torch.get_num_threads()
    curves.main(["--seeds", "2", "--epochs", "1", "--workers", "2", "--out", str(tmp_path)])
    document = json.loads((tmp_path / "curves.json").read_text())
    rows = document["tables"]["Regular against shaky text"]
    assert len(rows) == 1 + 3 * len(STRENGTHS)
    assert "RVSM, l0" in capsys.readouterr().out
    assert (tmp_path / "curves.png").stat().st_size > 10_000
    assert torch.get_num_threads() == threads


def test_the_chart_has_a_point_for_every_run_and_a_line_for_every_seed():
    rows = [{"name": f"RVSM, {penalty}", "zeros": 90.0, "accuracy": 99.0} for penalty in STRENGTHS]
    figure = curves.chart([{"rows": rows, "one-shot": [99.0] * len(SHARES)}] * 3)
    (axes,) = figure.axes
    assert [len(dots.get_offsets()) for dots in axes.collections] == [3, 3]
    assert sum(len(line.get_xdata()) == len(SHARES) for line in axes.lines) == 3
