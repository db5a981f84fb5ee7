"""What a step is: several batches' gradients, shortened ones, and what the options come to beside torch's own."""

from __future__ import annotations

import math

import pytest
import torch
from test_loop import DATA, IMAGE, network, quadrants, recipe, run, same
from torch import nn
from torch.nn import functional as F

from compressor.data.batches import batches, shuffled
from compressor.errors import UsageError
from compressor.splitting import Splitting
from compressor.training import train


def plain(seed=0):
    """Without statistics of batches."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(nn.Conv2d(1, 8, 3, stride=2), nn.ReLU(), nn.Flatten(), nn.Linear(72, 4))


def close(one, other):
    pairs = zip(one.parameters(), other.parameters(), strict=True)
    return all(torch.allclose(a, b, rtol=1e-4, atol=1e-6) for a, b in pairs)


@pytest.mark.parametrize("options", [{}, {"clip": 0.05}, {"optimizer": "adamw", "ema": 0.9}], ids=str)
@pytest.mark.parametrize("count", [2, 4])
def test_accumulated_batches_are_one_batch(count, options):
    whole, parts = plain(), plain()
    run(whole, batch_size=16, epochs=2, **options)
    run(parts, batch_size=16 // count, epochs=2, accumulate=count, **options)
    assert close(whole, parts)


def test_a_splitting_counts_steps_and_not_batches():
    ends = []
    for count in (1, 2):
        model, known = plain(), recipe(epochs=4, batch_size=16 // count, accumulate=count)
        steps = known.steps(len(DATA.train))
        splitting = Splitting(model, IMAGE, total_steps=steps, target_params=0.7)
        train(model, DATA, known, normalization=None, splitting=splitting)
        assert splitting.gap() == 0
        ends.append(model)
    assert close(*ends)


def test_batches_that_make_no_step_are_left_out():
    data = quadrants(72)  # nine batches of 8
    assert recipe(batch_size=8, accumulate=4, epochs=3).steps(72) == 6
    one, other = network(), network()
    run(one, data, batch_size=8, accumulate=4, epochs=1)
    order = shuffled(72, torch.Generator().manual_seed(0))
    assert not same(one, other)
    by_hand(other, data, [order[start : start + 8] for start in range(0, 64, 8)], accumulate=4)
    assert same(one, other)


def by_hand(model, data, indices, *, accumulate=1, clip=math.inf, rate=0.1):
    """An epoch with torch alone, in the layout and with the optimiser of the recipe."""
    known = recipe(lr=rate, epochs=1)
    model.train().to(memory_format=torch.channels_last)
    optimizer = known.build_optimizer(model)
    steps = len(indices) // accumulate
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = rate * (1.0 if step == 0 else 0.5 * (1 + math.cos(math.pi * (step - 1) / max(1, steps - 1))))
        optimizer.zero_grad()
        for part in indices[step * accumulate : (step + 1) * accumulate]:
            ((images, labels),) = batches(data.train.take(part), batch_size=len(part), normalization=None)
            loss = F.cross_entropy(model(images.contiguous(memory_format=torch.channels_last)), labels)
            (loss / accumulate).backward()
        if clip < math.inf:
            nn.utils.clip_grad_norm_(model.parameters(), clip)
        optimizer.step()
    model.to(memory_format=torch.contiguous_format)


@pytest.mark.parametrize("clip", [1e-3, 0.1, 1e6])
def test_gradients_are_shortened_as_torch_does(clip):
    one, other = network(), network()
    run(one, batch_size=16, epochs=1, clip=clip)
    by_hand(other, DATA, shuffled(64, torch.Generator().manual_seed(0)).split(16), clip=clip)
    assert close(one, other)


def test_gradients_of_any_length_are_left_alone_without_a_limit():
    one, other = network(), network()
    run(one)
    run(other, clip=1e6)
    assert same(one, other)


def test_more_batches_than_an_epoch_has_are_refused():
    with pytest.raises(UsageError, match=r"^--accumulate must be at most 4, the batches of an epoch, got 5$"):
        run(network(), batch_size=16, accumulate=5)
