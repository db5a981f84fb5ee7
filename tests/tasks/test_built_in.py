from __future__ import annotations

import json

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from compressor.errors import CompressorError, DataError, UsageError
from compressor.tasks import TASKS, Hits, Scores, Task, load_task
from compressor.training.evaluation import measure_all
from compressor.training.objective import distilled, loss_of


class Said(nn.Module):
    """Returns what it is given, with a gradient."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))
        self.calls = 0

    def forward(self, x):
        self.calls += 1
        return self.scale * x


class Feed:
    """Batches of one part."""

    def __init__(self, task, *batches):
        self.task, self.batches = task, batches

    def fingerprint(self, part):
        return None

    def part(self, part, device):
        return iter(self.batches)


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def metrics_of(task, *batches):
    return {metric.name: metric for metric in measure_all(Said(), Feed(task, *batches), "test")}


def test_every_task_is_listed_with_its_metric_and_options(compress):
    rows = {row["name"]: row for row in json.loads(compress("list", "tasks", "--json").stdout)}
    assert rows.keys() == TASKS.keys()
    assert rows["regression"]["metric"] == "RMSE, lower is better"
    assert rows["segmentation"]["options"] == {"ignore_index": 255, "class_weights": None}


def test_classification_has_the_loss_of_torch():
    logits, labels, weights = drawn(6, 3), torch.tensor([0, 1, 2, 0, 1, 2]), [1.0, 2.0, 0.5]
    task = load_task("classification", {"label_smoothing": 0.1, "class_weights": weights})
    expected = F.cross_entropy(logits, labels, torch.tensor(weights), label_smoothing=0.1)
    torch.testing.assert_close(task.loss(Said(), (logits, labels)), expected)


def test_multi_label_counts_all_labels_together():
    scores = torch.tensor([[1.0, -1.0, 1.0], [-1.0, -1.0, 1.0]])
    labels = torch.tensor([[1, 1, 1], [0, 0, 1]])
    found = metrics_of(load_task("multi-label"), (scores, labels))
    assert found["F1"].value == pytest.approx(2 * 3 / (2 * 3 + 1))
    assert found["exact match"].value == 0.5
    assert found["exact match"].ci95 is not None


def test_multi_label_has_the_loss_of_torch():
    scores, labels = drawn(4, 3), (drawn(4, 3, seed=1) > 0).long()
    task = load_task("multi-label", {"class_weights": [1.0, 2.0, 3.0]})
    expected = F.binary_cross_entropy_with_logits(scores, labels.float(), pos_weight=torch.tensor([1.0, 2.0, 3.0]))
    torch.testing.assert_close(task.loss(Said(), (scores, labels)), expected)


@pytest.mark.parametrize(("error", "loss"), [("mse", F.mse_loss), ("mae", F.l1_loss), ("huber", F.huber_loss)])
def test_regression_has_the_loss_of_torch(error, loss):
    given, wanted = drawn(5, 1), drawn(5, seed=1)
    task = load_task("regression", {"error": error})
    torch.testing.assert_close(task.loss(Said(), (given, wanted)), loss(given[:, 0], wanted))


def test_regression_measures_over_all_batches():
    given, wanted = drawn(6, 2), drawn(6, 2, seed=1)
    found = metrics_of(load_task("regression"), (given[:4], wanted[:4]), (given[4:], wanted[4:]))
    assert found["RMSE"].value == pytest.approx(float((given - wanted).square().mean().sqrt()))
    assert found["MAE"].value == pytest.approx(float((given - wanted).abs().mean()))
    assert (found["RMSE"].direction, found["RMSE"].n) == ("lower", 6)


def test_mean_iou_is_that_of_the_definition():
    scores, labels = drawn(4, 3, 5, 5), torch.randint(3, (4, 5, 5), generator=torch.Generator().manual_seed(2))
    labels[0, 0] = 255
    found = metrics_of(load_task("segmentation"), (scores[:3], labels[:3]), (scores[3:], labels[3:]))
    said, counted = scores.argmax(1), labels != 255
    shares = []
    for each in range(3):
        one, other = (said == each) & counted, labels == each
        shares.append(float((one & other).sum() / (one | other).sum()))
    assert found["mean IoU"].value == pytest.approx(sum(shares) / 3)
    assert found["pixel accuracy"].value == pytest.approx(float((said == labels)[counted].float().mean()))


def test_a_class_that_is_nowhere_does_not_count():
    scores = torch.zeros(2, 3, 2, 2)
    scores[:, 0] = 1
    assert metrics_of(load_task("segmentation"), (scores, torch.zeros(2, 2, 2).long()))["mean IoU"].value == 1


def test_segmentation_reads_what_torchvision_returns():
    class Dict(nn.Module):
        def forward(self, x):
            return {"out": x, "aux": x + 1}

    scores, labels = drawn(2, 3, 4, 4), torch.zeros(2, 4, 4).long()
    task = load_task("segmentation")
    torch.testing.assert_close(task.loss(Dict(), (scores, labels)), F.cross_entropy(scores, labels))


@pytest.mark.parametrize("name", TASKS)
def test_outputs_that_are_the_teachers_cost_nothing(name):
    task, said = load_task(name), drawn(4, 3, 2, 2) if name == "segmentation" else drawn(4, 3)
    assert float(task.match(said, said)) == pytest.approx(0, abs=1e-6)
    assert float(task.distance(said, said)) == pytest.approx(0, abs=1e-6)
    assert float(task.match(said + drawn(*said.shape, seed=1), said)) > 0.01


class Two(Task):
    """Two outputs."""

    primary = "x"

    def loss(self, model, batch):
        return model(batch[0]).mean()

    def metrics(self, model, batches):
        return {"x": 1.0}


def test_any_outputs_are_matched_tensor_by_tensor():
    wanted = {"boxes": torch.full((2, 4), 10.0), "scores": torch.full((2,), 0.1), "ids": torch.arange(2)}
    given = {"boxes": torch.full((2, 4), 11.0), "scores": torch.full((2,), 0.3), "ids": torch.arange(2)}
    assert float(Two().match(given, wanted)) == pytest.approx((1 / 100 + 0.04) / 2)
    assert float(Two().distance(given, wanted)) == pytest.approx((1 / 100 + 4) / 2)


def test_outputs_of_other_shapes_are_told():
    with pytest.raises(DataError, match=r"other shapes; the task needs a match\(\) of its own"):
        Two().match(torch.ones(2), torch.ones(3))


def test_a_step_of_distillation_is_one_pass():
    model, x = Said(), drawn(4, 3)
    loss = distilled(model, (x,), lambda: x, task=Two())
    assert model.calls == 1
    assert loss.requires_grad


def test_a_loss_on_other_inputs_takes_a_second_pass():
    class Mixed(Two):
        def loss(self, model, batch):
            return model(2 * batch[0]).mean()

    model, x = Said(), drawn(4, 3)
    loss = distilled(model, (x,), lambda: x, task=Mixed(), share=1.0)
    assert model.calls == 2
    assert float(loss.detach()) == 0


@pytest.mark.parametrize(
    ("name", "args", "told"),
    [
        ("classification", {"label_smoothing": 1.5}, r"label_smoothing must lie in \[0, 1\), got 1.5"),
        ("classification", {"label_smoothing": "much"}, "classification failed with .*TypeError"),
        ("classification", {"smoothing": 0.1}, "--task-arg does not fit classification: .* takes label_smoothing"),
        ("classification", {"class_weights": [1, -1]}, "class_weights must be 0 or more"),
        ("regression", {"error": "rmse"}, "error must be one of mse, mae, huber, got 'rmse'"),
        ("segmentaton", {}, "no task is called 'segmentaton'. Did you mean 'segmentation'|segmentaton"),
    ],
)
def test_wrong_options_are_told(name, args, told):
    with pytest.raises(CompressorError, match=told):
        load_task(name, args)


@pytest.mark.parametrize(
    ("name", "said", "truth", "told"),
    [
        ("segmentation", drawn(2, 3, 4, 4), torch.zeros(2, 5, 5).long(), "returns 2x3x4x4 for labels of 2x5x5"),
        ("regression", drawn(4, 2), drawn(4), "returns 4x2, and the batch has targets of 4"),
        ("multi-label", drawn(4, 2), "no tensor", "targets of a str"),
    ],
)
def test_batches_that_do_not_fit_are_told(name, said, truth, told):
    task = load_task(name)
    with pytest.raises(DataError, match=told):
        loss_of(task, Said(), (said, truth))
    with pytest.raises(DataError, match=told):
        metrics_of(task, (said, truth))


def test_weights_of_other_classes_are_told():
    task = load_task("classification", {"class_weights": [1.0, 2.0]})
    with pytest.raises(UsageError, match="class_weights has 2 weights, the network tells 3 classes apart"):
        loss_of(task, Said(), (drawn(4, 3), torch.zeros(4).long()))


class Wrong(Two):
    def __init__(self, said=None, found=None):
        self.said, self.found = said, found

    def loss(self, model, batch):
        return self.said(model, batch)

    def metrics(self, model, batches):
        list(batches)
        return self.found


@pytest.mark.parametrize(
    ("loss", "told"),
    [
        (lambda model, batch: model(batch[0]), "the loss of task Wrong is a tensor of 4x3; a tensor without axes"),
        (lambda model, batch: 3.5, "the loss of task Wrong is a float; a tensor without axes is needed"),
        (lambda model, batch: torch.ones(()), "the loss of task Wrong has no gradient; compute it from what"),
        (lambda model, batch: batch["x"], "the loss of task Wrong failed: TypeError: "),
    ],
)
def test_losses_that_cannot_be_trained_are_told(loss, told):
    with pytest.raises(UsageError, match=told):
        loss_of(Wrong(loss), Said(), (drawn(4, 3),))


@pytest.mark.parametrize(
    ("found", "told"),
    [
        ({"y": 1.0}, "task Wrong measures y, and not 'x', which is to count"),
        ({}, "task Wrong measures nothing, and not 'x'"),
        (0.5, "task Wrong measures a float, and not 'x'"),
        ({"x": "high"}, "the metrics of task Wrong are none: ValueError"),
    ],
)
def test_metrics_that_are_none_are_told(found, told):
    with pytest.raises(CompressorError, match=told):
        metrics_of(Wrong(found=found), (drawn(4, 3),))


def test_hits_that_shall_be_few_are_told():
    task = Wrong(found={"x": Hits(torch.ones(4).bool())})
    task.larger_is_better = False
    with pytest.raises(UsageError, match="of Hits more are better, but larger_is_better is False"):
        metrics_of(task, (drawn(4, 3),))


def test_samples_are_those_of_the_inputs():
    assert metrics_of(Wrong(found={"x": 1.0}), (drawn(4, 3),), (drawn(2, 3),))["x"].n == 6
    assert metrics_of(Wrong(found={"x": Scores(torch.ones(9))}), (drawn(4, 3),))["x"].n == 9
