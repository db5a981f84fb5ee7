"""Losses by what a network says itself, from which its Fisher information is made: no label is needed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Generator, Tensor

from compressor.checkpoints import Network
from compressor.data.batches import batches
from compressor.data.feeds import Data
from compressor.data.samples import DataSet, Samples
from compressor.equivalence import eval_mode
from compressor.inputs import call
from compressor.stages.samples import drawn_samples, varied_batches
from compressor.structures import tensors
from compressor.tasks.classification import Classification
from compressor.training.calibration import sample_losses

BATCH = 256


def own_losses(network: Network, data: Data, most: int, samples: int, seed: int) -> Iterator[Tensor]:
    """A loss for each of ``most`` of the ``samples`` that ``seed`` draws, with its graph, in evaluation mode.

    Of image classifiers the cross-entropy of a class drawn by what the network gives it. Of others the outputs are
    taken for the means of normal distributions, with the mean square of a tensor of them as its variance.
    """
    if not isinstance(data, DataSet) or not isinstance(data.task, Classification):
        return _of_outputs(network, data, most, samples, seed)
    drawn = drawn_samples(data, samples, seed)
    guessed = _with_own_labels(network, drawn.take(torch.arange(min(most, len(drawn)))), seed)
    own = replace(data, train=guessed, task=Classification())
    return sample_losses(network.model, own, network.metadata.normalization, seed=seed, most=len(guessed))


@torch.no_grad()
def _with_own_labels(network: Network, drawn: Samples, seed: int) -> Samples:
    """The images with classes drawn by what the network itself gives them."""
    generator, labels = torch.Generator().manual_seed(seed), []
    device = next(network.model.parameters()).device
    with eval_mode(network.model):
        for images, _ in batches(drawn, batch_size=BATCH, normalization=network.metadata.normalization, device=device):
            shares = network.model(images).softmax(1).cpu()
            labels.append(torch.multinomial(shares, 1, generator=generator)[:, 0])
    return replace(drawn, labels=torch.cat(labels))


def _of_outputs(network: Network, data: Data, most: int, samples: int, seed: int) -> Iterator[Tensor]:
    """The gradient of a normal distribution's log-likelihood is that of the means, weighted by what was drawn."""
    generator = torch.Generator().manual_seed(seed)
    given = varied_batches(network, data, samples, seed).map(data.task.inputs).cut(most)[0]
    with eval_mode(network.model), torch.enable_grad():
        for sample in given.split(1):
            said = [tensor for _, tensor in tensors(call(network.model, sample)) if tensor.is_floating_point()]
            yield torch.stack([_drawn(one, generator) for one in said if one.requires_grad]).sum()


def _drawn(means: Tensor, generator: Generator) -> Tensor:
    noise = torch.randn(means.shape, generator=generator).to(means.device)
    return (noise * means).sum() / means.detach().square().mean().sqrt().clamp_min(1e-12)
