"""A loop with Hugging Face's Accelerate: nothing is needed but `attach` to the optimiser that it prepared."""

from __future__ import annotations

import pytest
import torch
from foreign import required
from loop import CONFIGS, EPOCH_STEPS, EPOCHS, EXAMPLE, SAMPLES, loader, network, optimizer_of, plain, same
from torch.nn import functional as F

from compressor import SplittingConfig, reestimate
from compressor.splitting import build_splitting

required("accelerate")
import accelerate  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore")


def trained(options, accelerator, *, overflows=()):
    model = network()
    model, optimizer, batches = accelerator.prepare(model, optimizer_of(model), loader())
    steps = EPOCHS * EPOCH_STEPS // accelerator.gradient_accumulation_steps
    splitting = build_splitting(
        model, EXAMPLE, SplittingConfig(**options), total_steps=steps, epoch_steps=steps // EPOCHS, samples=SAMPLES
    )
    splitting.attach(optimizer)
    for epoch in range(EPOCHS):
        for number, (images, labels) in enumerate(batches):
            with accelerator.accumulate(model):
                accelerator.backward(F.cross_entropy(model(images), labels))
                if (epoch, number) in overflows:
                    model[0].weight.grad[0] = torch.inf
                optimizer.step()
                optimizer.zero_grad()
    projection = splitting.project()
    reestimate(model, (images for images, _ in batches))
    return model, projection, splitting


@pytest.mark.parametrize("name", CONFIGS)
def test_the_result_is_that_of_the_plain_loop(name):
    model, projection, _ = trained(CONFIGS[name], accelerate.Accelerator(cpu=True))
    expected, wanted = plain(CONFIGS[name])
    assert same(model, expected)
    assert projection == wanted


def test_steps_of_the_optimizer_count_and_not_batches():
    accelerator = accelerate.Accelerator(cpu=True, gradient_accumulation_steps=4)
    model, _, splitting = trained({"target_macs": 0.5}, accelerator)
    assert splitting.step == EPOCHS * 2
    assert same(model, plain({"target_macs": 0.5}, accumulate=4)[0])


def test_steps_that_a_scaler_skips_do_not_count():
    accelerator = accelerate.Accelerator(cpu=True)
    accelerator.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10)
    _, projection, splitting = trained({"target_macs": 0.5}, accelerator, overflows={(0, 3), (1, 0)})
    assert splitting.step == EPOCHS * EPOCH_STEPS - 2
    assert projection.gap < 1e-3
