"""The callback in the real Trainer of Lightning: the network of a plain loop, bit by bit."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from foreign import required
from loop import CONFIGS, EPOCHS, EXAMPLE, loader, network, optimizer_of, plain, same
from torch.nn import functional as F

from compressor import shrink
from compressor.costs import count_macs
from compressor.errors import CompressorError, CompressorWarning, UsageError

required("lightning.pytorch")
import lightning.pytorch as L  # noqa: E402
import lightning_on_ranks  # noqa: E402

from compressor.integrations.lightning import CompressionCallback  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore")


class Classifier(L.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = network()

    def forward(self, images):
        return self.net(images)

    def training_step(self, batch, index):
        images, labels = batch
        return F.cross_entropy(self(images), labels)

    def configure_optimizers(self):
        return optimizer_of(self)


def trained(callback, model=None, ckpt_path=None, **options):
    model = model or Classifier()
    quiet = {"accelerator": "cpu", "logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    callbacks = [callback, *options.pop("callbacks", [])]
    trainer = L.Trainer(
        callbacks=callbacks, **{"max_epochs": EPOCHS, "enable_checkpointing": False, **quiet, **options}
    )
    trainer.fit(model, loader(), ckpt_path=ckpt_path)
    return model


@pytest.mark.parametrize("name", CONFIGS)
def test_the_result_is_that_of_the_plain_loop(name):
    callback = CompressionCallback(EXAMPLE, network="net", **CONFIGS[name])
    model = trained(callback)
    expected, projection = plain(CONFIGS[name])
    assert callback.network is model.net
    assert same(model.net, expected)
    assert callback.projection == projection


def test_three_lines_make_a_network_smaller():
    callback = CompressionCallback(EXAMPLE, target_macs=0.5)
    model = trained(callback)
    small = shrink(model, EXAMPLE)
    assert callback.projection.warnings == ()
    assert count_macs(small, EXAMPLE) <= 0.5 * count_macs(model, EXAMPLE)


def test_steps_of_the_optimizer_count_and_not_batches():
    callback = CompressionCallback(EXAMPLE, network="net", target_macs=0.5)
    model = trained(callback, accumulate_grad_batches=4)
    assert callback.splitting.step == callback.splitting.total_steps == EPOCHS * 2
    assert same(model.net, plain({"target_macs": 0.5}, accumulate=4)[0])


def test_a_checkpoint_of_the_trainer_holds_the_state_of_the_splitting(tmp_path):
    path = tmp_path / "half.ckpt"

    class Save(L.Callback):
        def on_train_epoch_end(self, trainer, pl_module):
            if trainer.current_epoch == 0:
                trainer.save_checkpoint(path)

    whole = CompressionCallback(EXAMPLE, network="net", target_macs=0.6, target_zeros=0.5)
    expected = trained(whole, callbacks=[Save()])
    resumed = CompressionCallback(EXAMPLE, network="net", target_macs=0.6, target_zeros=0.5)
    model = trained(resumed, ckpt_path=path)
    assert resumed.projection == whole.projection
    assert same(model, expected)


def test_a_training_that_stops_early_is_projected_with_a_warning():
    class Stop(L.Callback):
        def on_train_epoch_end(self, trainer, pl_module):
            trainer.should_stop = True

    callback = CompressionCallback(EXAMPLE, network="net", target_macs=0.5)
    with pytest.warns(CompressorWarning, match="stopped after 8 of 24 steps"):
        model = trained(callback, callbacks=[Stop()])
    assert count_macs(shrink(model.net.eval(), EXAMPLE), EXAMPLE) <= 0.5 * count_macs(model.net, EXAMPLE)
    with pytest.warns(CompressorWarning):
        expected, _ = plain({"target_macs": 0.5}, epochs=1)
    assert same(model.net, expected)


def test_gradients_are_those_that_are_clipped():
    """They are clipped in the closure that Lightning gives its optimisers."""
    callback = CompressionCallback(EXAMPLE, network="net", target_macs=0.5)
    trained(callback, gradient_clip_val=1e-6)
    assert callback.splitting.state_dict()["saliency"]["mean"].max() < 1e-12


def test_a_training_without_an_end_is_refused():
    with pytest.raises(UsageError, match="the trainer does not say how many steps it will take"):
        trained(CompressionCallback(EXAMPLE, target_macs=0.5), max_epochs=-1)


def test_a_saliency_that_needs_a_pass_is_refused():
    with pytest.raises(UsageError, match="--saliency fisher needs a pass of its own, which a callback cannot make"):
        trained(CompressionCallback(EXAMPLE, target_macs=0.5, saliency="fisher"))


def test_before_the_training_there_is_nothing_to_look_at():
    callback = CompressionCallback(EXAMPLE, target_macs=0.5)
    with pytest.raises(CompressorError, match="the training has not begun"):
        _ = callback.network
    with pytest.raises(CompressorError, match="the training has not ended"):
        _ = callback.projection


def test_low_precision_reaches_the_statistics_too():
    callback = CompressionCallback(EXAMPLE, network="net", target_macs=0.5)
    model = trained(callback, precision="bf16-mixed")
    assert torch.isfinite(model.net[1].running_var).all()


@pytest.mark.slow
def test_two_processes_end_with_the_same_network(tmp_path, environment):
    command = [sys.executable, lightning_on_ranks.__file__, str(tmp_path)]
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=environment, timeout=120)
    assert done.returncode == 0, done.stderr
    first, second = (torch.load(tmp_path / f"{rank}.pt") for rank in range(2))
    assert first["macs"] == second["macs"]
    assert first["macs"][1] <= 0.5 * first["macs"][0]
    assert all(torch.equal(tensor, second["state"][name]) for name, tensor in first["state"].items())
