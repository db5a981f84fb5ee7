"""What single layers take at widths that the runtime does not reward, and at the whole steps beside them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from compressor.benchmarking.copies import ENOUGH_NS, LEAST_RUNS
from compressor.benchmarking.fast_path import Misfit
from compressor.benchmarking.process import LayerAt, LayersAnswer, LayersTask, request
from compressor.progress import Progress
from compressor.records.benchmark import BenchmarkSettings, UnalignedLayer, WidthCost

PASSES = 3
# What a thread does at least, and what opening sessions and timing a quick layer takes: they decide how many layers
# fit into the seconds.
MACS_PER_SECOND, SECONDS_EACH = 20e9, 0.03 + ENOUGH_NS / 1e9
PATIENCE, LEAST_SECONDS = 10, 60.0
Times = Mapping[LayerAt, float]


def time_widths(
    found: Sequence[Misfit], settings: BenchmarkSettings, *, seconds: float, on_progress: Progress
) -> Times:
    """Microseconds of the layers of ``found`` by themselves, of as many as fit into ``seconds``, the largest first.

    The time is that of the quickest pass: what disturbs one only adds. Raises `CompressorError` when a layer cannot be
    run by itself.
    """
    batch, wanted = settings.batches[0], dict[LayerAt, None]()
    for one in sorted((one for one in found if one.site is not None), key=lambda one: -one.macs):
        cost = sum(SECONDS_EACH + LEAST_RUNS * batch * one.macs / MACS_PER_SECOND for _ in _widths(one)) * PASSES
        seconds -= cost
        if seconds >= 0:
            wanted.update(dict.fromkeys(at for width in _widths(one) for at in _layers(one, width)))
    if not wanted:
        return {}
    task = LayersTask(tuple(wanted), batch, PASSES, settings)
    answer = request(task, LayersAnswer, on_progress, seconds=max(LEAST_SECONDS, PATIENCE * settings.max_seconds))
    return dict(zip(wanted, map(min, answer.us), strict=True))


def unaligned_layer(misfit: Misfit, times: Times) -> UnalignedLayer:
    """The layer as a record, with what its widths take, where that was timed."""
    own, *snapped = (WidthCost(channels=width, us=_us(misfit, width, times)) for width in _widths(misfit))
    return UnalignedLayer(
        name=misfit.name,
        channels=misfit.channels,
        rule=misfit.rule,
        step=misfit.step,
        us=own.us,
        snapped=tuple(snapped),
    )


def _us(misfit: Misfit, width: int, times: Times) -> float | None:
    known = [times.get(at) for at in _layers(misfit, width)]
    return sum(us for us in known if us is not None) if known and None not in known else None


def _widths(misfit: Misfit) -> tuple[int, ...]:
    return (misfit.channels, *misfit.snapped)


def _layers(misfit: Misfit, width: int) -> Iterator[LayerAt]:
    for layer, inputs, outputs in misfit.site.at(width) if misfit.site is not None else ():
        yield LayerAt(layer, inputs, outputs)
