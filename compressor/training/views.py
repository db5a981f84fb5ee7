"""What a teacher says of a few augmented views of every training sample, asked once and not at every step.

The teacher's forward pass is the dearest part of the training of a small network. Every epoch shows one of the views,
in turn, so that what was said of it holds.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Generator, Tensor, nn

from compressor.data.batches import Normalizer, normalized, shuffled
from compressor.data.device import ahead
from compressor.data.normalization import Normalization
from compressor.data.samples import Augmentation, DataSet, View
from compressor.data.shares import WHOLE, Share
from compressor.equivalence import eval_mode
from compressor.progress import Progress, silent

BATCH = 256


@dataclass(frozen=True)
class Views:
    """Views of the samples of a training part, and the teacher's ``logits`` (views, samples, classes) of them."""

    views: Sequence[View]
    logits: Tensor

    def batches(
        self,
        epoch: int,
        data: DataSet,
        *,
        batch_size: int,
        normalization: Normalization | None,
        device: torch.device,
        shuffle: Generator,
        share: Share = WHOLE,
        done: int = 0,
    ) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Images, labels and the teacher's logits of the training part as the ``epoch``-th (from 0) sees it.

        ``shuffle`` draws the order; samples that do not fill the last batch are left out, and so are the first ``done``
        batches. Of every batch only the part of ``share`` is made.
        """
        turn, samples, whole = epoch % len(self.views), data.train, Normalizer(normalization, device)
        # Where the samples lie: on a GPU, where they fit, so that nothing is copied at a step.
        where, mine = samples.labels.device, share.part(batch_size)
        view, logits = self.views[turn].to(where), self.logits[turn].to(where)
        order = shuffled(len(samples), shuffle).to(where).split(batch_size)  # type: ignore[no-untyped-call]
        full = [indices[mine] for indices in order[done:] if len(indices) == batch_size]
        read = zip(full, samples.read(full), strict=True)
        drawn = ((images, labels, view.take(indices), logits[indices]) for indices, (images, labels) in read)
        for images, labels, own, said in ahead(drawn, device):
            yield whole(own.of(images)), labels, said


def draw_views(data: DataSet, count: int, seed: int) -> list[View]:
    """``count`` augmentations of every training sample, drawn from ``seed``."""
    generator = torch.Generator().manual_seed(seed)
    assert isinstance(data.augmentation, Augmentation)  # others show no image twice
    return [data.augmentation.drawn(len(data.train), generator) for _ in range(count)]


@torch.no_grad()
def ask(
    teacher: nn.Module,
    data: DataSet,
    views: Sequence[View],
    normalization: Normalization | None,
    *,
    progress: Progress | None = None,
) -> Tensor:
    """The logits (views, samples, classes), float32 on the CPU, of ``teacher`` on its own device."""
    device, tell = next(teacher.parameters()).device, progress or silent
    indices, found = torch.arange(len(data.train)).split(BATCH), list[Tensor]()  # type: ignore[no-untyped-call]
    with eval_mode(teacher):
        for view in views:
            for part, (images, _) in zip(indices, data.train.read(indices), strict=True):
                images = view.take(part).of(images.to(device))
                images = normalized(images, normalization, device).contiguous(memory_format=torch.channels_last)
                found.append(teacher(images).float().cpu())
                tell(len(found) / (len(views) * len(indices)), "asking the dense network")
    return torch.cat(found).view(len(views), len(data.train), -1)
