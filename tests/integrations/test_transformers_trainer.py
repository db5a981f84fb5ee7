"""The callback in the real Trainer of transformers: the network of a plain loop, bit by bit."""

from __future__ import annotations

import pytest
import torch
from foreign import required
from loop import BATCH, CONFIGS, EPOCHS, EXAMPLE, data, network, optimizer_of, plain, same
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader

from compressor import shrink
from compressor.costs import count_macs
from compressor.errors import CheckpointError, CompressorWarning, UsageError

required("transformers")
required("accelerate")
import transformers  # noqa: E402

from compressor.integrations.transformers import CompressionCallback  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore")


class Classifier(nn.Module):
    """A network as a Trainer wants it."""

    def __init__(self):
        super().__init__()
        self.net = network()

    def forward(self, images, labels=None):
        logits = self.net(images)
        loss = None if labels is None else F.cross_entropy(logits, labels)
        return {"logits": logits} if loss is None else {"loss": loss, "logits": logits}


class InOrder(transformers.Trainer):
    def get_train_dataloader(self):
        def collate(pairs):
            images, labels = zip(*pairs, strict=True)
            return {"images": torch.stack(images), "labels": torch.stack(labels)}

        return DataLoader(self.train_dataset, batch_size=BATCH, collate_fn=collate)


def trainer_of(model, callback, folder, evaluated=None, **options):
    quiet = {"report_to": [], "disable_tqdm": True, "use_cpu": True, "save_strategy": "no", "logging_strategy": "no"}
    settings = {"num_train_epochs": EPOCHS, "max_grad_norm": 0.0, "lr_scheduler_type": "constant", **quiet, **options}
    args = transformers.TrainingArguments(output_dir=str(folder), **settings)
    optimizers = (optimizer_of(model), None)
    sets = {"train_dataset": data(), "eval_dataset": evaluated}
    trainer = InOrder(model=model, args=args, callbacks=[callback], optimizers=optimizers, **sets)
    trainer.remove_callback(transformers.PrinterCallback)
    return trainer


def callback_of(**options):
    return CompressionCallback({"images": EXAMPLE}, **options)


@pytest.mark.parametrize("name", CONFIGS)
def test_the_result_is_that_of_the_plain_loop(name, tmp_path):
    model, callback = Classifier(), callback_of(**CONFIGS[name])
    trainer_of(model, callback, tmp_path).train()
    expected, projection = plain(CONFIGS[name])
    assert callback.network is model
    assert same(model.net, expected)
    assert callback.projection.sparsity == projection.sparsity
    assert callback.projection.macs == projection.macs


def test_steps_of_the_optimizer_count_and_not_batches(tmp_path):
    model, callback = Classifier(), callback_of(target_macs=0.5)
    trainer_of(model, callback, tmp_path, gradient_accumulation_steps=4).train()
    assert callback.splitting.step == callback.splitting.total_steps == EPOCHS * 2
    assert same(model.net, plain({"target_macs": 0.5}, accumulate=4)[0])


def test_a_training_goes_on_from_the_trainers_checkpoint(tmp_path):
    options = {"save_strategy": "epoch"}
    expected, whole = Classifier(), callback_of(target_macs=0.6, target_zeros=0.5)
    trainer_of(expected, whole, tmp_path, **options).train()
    model, resumed = Classifier(), callback_of(target_macs=0.6, target_zeros=0.5)
    trainer_of(model, resumed, tmp_path, **options).train(resume_from_checkpoint=str(tmp_path / "checkpoint-8"))
    assert resumed.projection == whole.projection
    assert same(model, expected)


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda file: file.unlink(), "is missing, where the state"),
        (lambda file: file.write_bytes(b"no"), "cannot be read"),
    ],
    ids=["missing", "damaged"],
)
def test_a_checkpoint_without_the_state_is_refused(tmp_path, damage, told):
    trainer_of(Classifier(), callback_of(target_macs=0.5), tmp_path, save_strategy="epoch").train()
    damage(tmp_path / "checkpoint-8" / "compression.pt")
    again = trainer_of(Classifier(), callback_of(target_macs=0.5), tmp_path)
    with pytest.raises(CheckpointError, match=told):
        again.train(resume_from_checkpoint=str(tmp_path / "checkpoint-8"))


def test_a_training_that_stops_early_is_projected_with_a_warning(tmp_path):
    class Stop(transformers.TrainerCallback):
        def on_epoch_end(self, args, state, control, **others):
            control.should_training_stop = True

    model, callback = Classifier(), callback_of(target_macs=0.5)
    trainer = trainer_of(model, callback, tmp_path)
    trainer.add_callback(Stop)
    with pytest.warns(CompressorWarning, match="stopped after 8 of 24 steps"):
        trainer.train()
    assert count_macs(shrink(model.net.eval(), EXAMPLE), EXAMPLE) <= 0.5 * count_macs(model.net, EXAMPLE)


def bert():
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        config = transformers.BertConfig(vocab_size=50, max_position_embeddings=16, num_labels=2, **sizes)
        return transformers.BertForSequenceClassification(config)


def sentences():
    drawn = torch.Generator().manual_seed(0)
    return [{"input_ids": torch.randint(50, (8,), generator=drawn), "labels": index % 2} for index in range(64)]


def settings(folder):
    quiet = {"report_to": [], "disable_tqdm": True, "use_cpu": True, "save_strategy": "no", "logging_strategy": "no"}
    return transformers.TrainingArguments(output_dir=str(folder), num_train_epochs=EPOCHS, **quiet)


def test_load_best_model_at_end_is_told_to_leave_a_gap(tmp_path):
    """The best network is of an earlier step."""
    options = {"load_best_model_at_end": True, "eval_strategy": "epoch", "metric_for_best_model": "found"}
    options["greater_is_better"] = False
    callback = callback_of(target_macs=0.5)
    evaluated = [{"images": image, "labels": label} for image, label in data()]
    trainer = trainer_of(Classifier(), callback, tmp_path, evaluated, save_strategy="epoch", **options)
    losses = iter([0.1, 0.2, 0.3])
    trainer.compute_metrics = lambda predictions: {"found": next(losses)}
    with pytest.warns(CompressorWarning, match="projection changes the outputs"):
        trainer.train()


def test_a_saliency_that_needs_a_pass_is_refused(tmp_path):
    with pytest.raises(UsageError, match="--saliency fisher needs a pass of its own, which a callback cannot make"):
        trainer_of(Classifier(), callback_of(target_macs=0.5, saliency="fisher"), tmp_path).train()
