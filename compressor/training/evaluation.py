"""How well a network does its task on a part of the data, with a confidence interval."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import nn

from compressor.data.feeds import Data, Feed, feed_of
from compressor.data.loaders import Part, add_batch
from compressor.data.normalization import Normalization
from compressor.data.samples import Augmentation, DataSet, Samples
from compressor.equivalence import eval_mode
from compressor.errors import UsageError
from compressor.inputs import samples_in
from compressor.records import Metric
from compressor.tasks.base import Task
from compressor.tasks.scores import Hits, metric_of, wilson
from compressor.user_code import foreign


def accuracy_of(share: float, n: int) -> Metric:
    """The ``share`` of ``n`` samples whose class is right, with Wilson's 95 % score interval."""
    return Metric(value=share, n=n, ci95=wilson(share, n))


def measure(
    model: nn.Module, data: Data, part: Part, normalization: Normalization | None, *, outcomes: bool = False
) -> Metric:
    """The metric of ``model`` that counts on a part of ``data``, on the device it lies on; its mode is restored.

    With ``outcomes`` it also holds what two networks can be compared by, sample by sample.
    """
    return measure_all(model, feed_of(data, normalization), part, outcomes=outcomes)[0]


def measure_all(model: nn.Module, feed: Feed, part: Part, *, outcomes: bool = False) -> tuple[Metric, ...]:
    """All metrics of the task, the one that counts first; `DataError` or `UsageError` where they cannot be had."""
    task, fingerprint = feed.task, feed.fingerprint(part) if outcomes else None
    seen = _Seen(task, digests=outcomes and fingerprint is None)
    with eval_mode(model), torch.no_grad(), foreign(f"the metrics of {named(task)} failed"):
        found = task.metrics(model, seen.passed(feed.part(part, device_of(model))))
    if not isinstance(found, Mapping) or task.primary not in found:
        what = ", ".join(map(str, found)) if isinstance(found, Mapping) else f"a {type(found).__name__}"
        raise UsageError(f"{named(task)} measures {what or 'nothing'}, and not {task.primary!r}, which is to count")
    first = found[task.primary]
    if isinstance(first, Hits) and not task.larger_is_better:
        raise UsageError(f"{named(task)}: of Hits more are better, but larger_is_better is False")
    samples = fingerprint or seen.fingerprint
    known = Metric(unit=task.unit, direction="higher" if task.larger_is_better else "lower", value=0.0, n=0)
    others = [name for name in found if name != task.primary]
    with foreign(f"the metrics of {named(task)} are none"):
        return tuple(metric_of(name, found[name], seen.samples, known, samples) for name in [task.primary, *others])


def named(task: Task) -> str:
    """A task in messages."""
    return f"task {type(task).__name__}"


def device_of(model: nn.Module) -> torch.device:
    """Where the parameters of ``model`` lie; the CPU where it has none."""
    return next((parameter.device for parameter in model.parameters()), torch.device("cpu"))


def model_accuracy(
    model: nn.Module, samples: Samples, normalization: Normalization | None, *, outcomes: bool = False
) -> Metric:
    """Accuracy of an image classifier on ``samples``, as `measure`."""
    data = DataSet(
        ref="",
        train=samples,
        val=samples,
        test=samples,
        classes=(),
        normalization=normalization,
        augmentation=Augmentation(),
        split_seed=0,
        val_fraction=0.0,
    )
    return measure(model, data, "test", normalization, outcomes=outcomes)


class _Seen:
    """How many samples were gone through, and which."""

    def __init__(self, task: Task, *, digests: bool) -> None:
        self.samples, self._task, self._digest = 0, task, hashlib.sha256() if digests else None

    @property
    def fingerprint(self) -> str | None:
        return None if self._digest is None else self._digest.hexdigest()

    def passed(self, batches: Iterable[Any]) -> Iterator[Any]:
        for batch in batches:
            self.samples += samples_in(self._task.inputs(batch))
            if self._digest is not None:
                add_batch(self._digest, batch)
            yield batch
