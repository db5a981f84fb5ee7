"""Does an exported file compute what the PyTorch network does? ONNX Runtime, say, against torch, in float32."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from compressor.equivalence import Inputs, outputs, random_inputs
from compressor.errors import CheckpointError, EquivalenceError, first_line
from compressor.records.run import Parity
from compressor.runtime import open_session

BATCHES = (1, 2, 3)
SEEDS = (0, 1, 2)
# Largest difference over the output scale: rounding stays near 1e-6, faults are far above.
PARITY_LIMIT = 1e-5


def check_parity(model: nn.Module, file: Path, example: Inputs, real_inputs: Tensor | None) -> Parity:
    """`agreement` of ``model`` with an ONNX file in ONNX Runtime, whose inputs are called as in `by_name`."""
    try:
        session = open_session(file, threads=1, checked=True)
    except CheckpointError as error:
        raise EquivalenceError(f"ONNX Runtime cannot run the file ({first_line(error.__cause__ or error)})") from error
    # What the network does not use is no input of the file.
    wanted = {entry.name for entry in session.get_inputs()}

    def run(inputs: Inputs) -> Sequence[NDArray[Any]]:
        named = {name: tensor.numpy() for name, tensor in by_name(model, inputs).items() if name in wanted}
        results: Sequence[NDArray[Any]] = session.run(None, named)
        return results

    return agreement(model, run, example, real_inputs, runner="ONNX Runtime")


def by_name(model: nn.Module, inputs: Inputs) -> dict[str, Tensor]:
    """What an exported file calls the inputs of ``model``, in their order.

    One is "input", several are "input_0", "input_1"...; those by name keep it, in the order of ``forward``.
    """
    if isinstance(inputs, Tensor):
        return {"input": inputs}
    if not isinstance(inputs, Mapping):
        return {f"input_{place}": tensor for place, tensor in enumerate(inputs)}
    order = list(inspect.signature(model.forward).parameters)
    return {name: inputs[name] for name in sorted(inputs, key=lambda name: order.index(name) if name in order else 0)}


def agreement(
    model: nn.Module,
    run: Callable[[Inputs], Sequence[NDArray[Any]]],
    example: Inputs,
    real_inputs: Tensor | None,
    *,
    runner: str,
) -> Parity:
    """Compare every output that ``run`` gives with PyTorch's on random inputs of several batch sizes, and on real ones.

    Random inputs are `random_inputs` like ``example``. `EquivalenceError` when an output differs.
    """
    samples: list[Inputs] = [
        random_inputs(example, torch.Generator().manual_seed(seed), batch=batch) for seed in SEEDS for batch in BATCHES
    ]
    if real_inputs is not None:
        samples.append(real_inputs.cpu().float())
    try:
        pairs = [(outputs(model, x), run(x)) for x in samples]
    except Exception as error:  # every runtime raises its own kinds
        raise EquivalenceError(f"{runner} cannot run the file ({first_line(error)})") from error
    if any(len(wants) != len(gots) for wants, gots in pairs):
        raise EquivalenceError("the file has another number of outputs than PyTorch's")
    flat = [(want.numpy(), got) for wants, gots in pairs for want, got in zip(wants, gots, strict=True)]
    if any(want.shape != got.shape for want, got in flat):
        raise EquivalenceError("an output has another shape than PyTorch's at some batch size")
    parity = _figures(flat, f"{len(SEEDS)} seeds x batches {', '.join(map(str, BATCHES))}", real_inputs)
    if not parity.norm_rel <= PARITY_LIMIT:
        raise EquivalenceError(
            f"outputs differ from PyTorch's by {parity.norm_rel:.1e} of their scale (allowed {PARITY_LIMIT:g})"
        )
    return parity


def _figures(pairs: Sequence[tuple[Any, Any]], inputs: str, real: Tensor | None) -> Parity:
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
        inputs=inputs + (f", {len(real)} real samples" if real is not None else ""),
    )
