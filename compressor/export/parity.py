"""Does an exported file compute what the PyTorch network does? ONNX Runtime, say, against torch, in float32."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from compressor.equivalence import Inputs, accepted, outputs
from compressor.errors import CheckpointError, EquivalenceError, first_line
from compressor.export.flat import by_name, signature_of
from compressor.inputs import Examples, converted, each, random_inputs
from compressor.precision import LOW, precisions
from compressor.records.run import Parity
from compressor.runtime import open_session

BATCHES = (1, 2, 3)
SEEDS = (0, 1, 2)
# Largest difference over the output scale: rounding stays near 1e-6, faults are far above.
PARITY_LIMIT = 1e-5


def check_parity(model: nn.Module, file: Path, example: Inputs, real_inputs: Inputs | None) -> Parity:
    """`agreement` of ``model`` with an ONNX file in ONNX Runtime, whose inputs are called as in `by_name`."""
    try:
        session = open_session(file, threads=1, checked=True)
    except CheckpointError as error:
        raise EquivalenceError(f"ONNX Runtime cannot run the file ({first_line(error.__cause__ or error)})") from error
    # What the network does not use is no input of the file.
    wanted = {entry.name for entry in session.get_inputs()}

    def run(inputs: Examples) -> Sequence[NDArray[Any]]:
        named = {name: tensor.numpy() for name, tensor in by_name(model, inputs).items() if name in wanted}
        results: Sequence[NDArray[Any]] = session.run(None, named)
        return results

    return agreement(model, run, example, real_inputs, runner="ONNX Runtime")


def agreement(
    model: nn.Module,
    run: Callable[[Examples], Sequence[NDArray[Any]]],
    example: Inputs,
    real_inputs: Inputs | None,
    *,
    runner: str,
) -> Parity:
    """Compare every output that ``run`` gives with PyTorch's on random inputs of several batch sizes, and on real ones.

    Random inputs are `random_inputs` like every example, all of one batch size where the network takes no other.
    `EquivalenceError` when an output differs.
    """
    examples = Examples.of(example)
    low = next((kind for kind in precisions(model) if kind in LOW), None)
    batches = BATCHES if signature_of(model, examples).resizable else (None,)
    samples = [*_samples(model, examples, batches)]
    if real_inputs is not None:
        samples.append(converted(Examples(real_inputs, outputs=examples.outputs), torch.float32))
    if low is not None:
        samples = [each(x, lambda tensor: tensor.to(low) if tensor.is_floating_point() else tensor) for x in samples]
    try:
        pairs = [(outputs(model, x), run(x)) for x in samples]
    except Exception as error:  # every runtime raises its own kinds
        raise EquivalenceError(f"{runner} cannot run the file ({first_line(error)})") from error
    if any(len(wants) != len(gots) for wants, gots in pairs):
        raise EquivalenceError("the file has another number of outputs than PyTorch's")
    flat = [(array(want), got) for wants, gots in pairs for want, got in zip(wants, gots, strict=True)]
    if any(want.shape != got.shape for want, got in flat):
        raise EquivalenceError("an output has another shape than PyTorch's at some batch size")
    sizes = f" x batches {', '.join(map(str, batches))}" if batches != (None,) else " x the example's batch"
    several = f" x {len(examples.calls)} examples" if len(examples.calls) > 1 else ""
    parity = _figures(flat, f"{len(SEEDS)} seeds{sizes}{several}", real_inputs)
    if not parity.norm_rel <= PARITY_LIMIT:
        raise EquivalenceError(
            f"outputs differ from PyTorch's by {parity.norm_rel:.1e} of their scale (allowed {PARITY_LIMIT:g})"
        )
    return parity


def array(tensor: Tensor) -> NDArray[Any]:
    """``tensor`` for numpy, which has no bfloat16."""
    values: NDArray[Any] = (tensor.float() if tensor.dtype in LOW else tensor).detach().numpy()
    return values


def _samples(model: nn.Module, examples: Examples, batches: Sequence[int | None]) -> Iterator[Examples]:
    for seed in SEEDS:
        for batch in batches:
            for one in examples.calls:
                single = Examples(one, outputs=examples.outputs)
                generator = torch.Generator().manual_seed(seed)
                if batch is not None:
                    yield random_inputs(single, generator, batch=batch)
                else:
                    yield accepted(model, (random_inputs(single, generator, same_shape=True), single))


def _figures(pairs: Sequence[tuple[Any, Any]], inputs: str, real: Inputs | None) -> Parity:
    exact = [(want.astype(np.float64), got.astype(np.float64)) for want, got in pairs]
    with np.errstate(invalid="ignore"):
        differences = [want - got for want, got in exact]
    # Unlike Python's, numpy's maximum never hides a NaN.
    largest = np.array([np.abs(difference).max() for difference in differences])
    scales = np.array([max(np.abs(want).max(), 1e-30) for want, _ in exact])
    norm_rel = float((largest / scales).max())
    signal = sum(float(np.square(want).sum()) for want, _ in exact)
    noise = sum(float(np.square(difference).sum()) for difference in differences)
    tops = np.concatenate([(want.argmax(-1) == got.argmax(-1)).ravel() for want, got in exact])
    return Parity(
        max_abs=float(largest.max()),
        norm_rel=norm_rel if np.isfinite(norm_rel) else float("inf"),
        # 300 dB stands for outputs that are equal to the last bit.
        sqnr_db=min(300.0, float(10 * np.log10(signal / noise))) if noise > 0 else 300.0,
        top1_agreement=float(tops.mean()),
        inputs=inputs + (f", {len(real)} real samples" if isinstance(real, Tensor) else ""),
    )
