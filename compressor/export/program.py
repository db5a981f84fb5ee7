"""PyTorch to a torch.export program (.pt2), checked: dynamic batch, and outputs that agree.

Written only: torch's own loader of such files may unpickle, so nothing here reads one that it has not just written.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from compressor.equivalence import Inputs
from compressor.errors import EquivalenceError, first_line
from compressor.export.files import on_cpu, publish, quiet
from compressor.export.flat import Flat, Signature, alike, by_name, ordered, signature_of, traceable
from compressor.export.parity import agreement, array
from compressor.files import scratch_folder
from compressor.inputs import Examples, each
from compressor.records.run import Export

# What came with the network lies in the archive under this name, as JSON.
METADATA = "compressor.json"


def export_program(
    model: nn.Module,
    example_input: Inputs,
    path: str | Path,
    *,
    metadata: Mapping[str, str] | None = None,
    real_inputs: Inputs | None = None,
) -> Export:
    """Write ``model`` as a torch.export program with a dynamic batch; `EquivalenceError` when it differs from it.

    The file is loaded again and compared before it takes its place; else nothing is written. It opens with
    ``torch.export.load`` of the same torch or a newer one. ``metadata`` goes into it as JSON. A network that takes more
    than tensors, or returns more than counts, becomes a program of the tensors alone, in their order in the example.
    """
    path = Path(path)
    with on_cpu(model), scratch_folder() as folder:
        draft = folder / path.name
        examples = each(alike(model, example_input), Tensor.cpu)
        signature = signature_of(model, examples)
        program = _exported(model, examples)
        with quiet():
            torch.export.save(program, draft, extra_files={METADATA: json.dumps(dict(metadata or {}))})
            again = torch.export.load(draft).module()

        def run(inputs: Examples) -> list[Any]:
            args, kwargs = _called(model, inputs, signature)
            return [array(leaf) for leaf in tree_leaves(again(*args, **kwargs))]

        parity = agreement(model, run, examples, real_inputs, runner="torch.export")
        publish(draft, path)
    return Export(
        variant=path.stem,
        exporter="torch.export",
        opset=None,
        torch=str(torch.__version__),
        fallback=None,
        parity=parity,
    )


def _called(model: nn.Module, inputs: Examples, signature: Signature) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """What a program is called with: as the network, or with the tensors one by one."""
    return ordered(model, inputs.calls[0]) if signature.plain else (tuple(by_name(model, inputs).values()), {})


def _exported(model: nn.Module, examples: Examples) -> torch.export.ExportedProgram:
    signature = signature_of(model, examples)
    args, kwargs = _called(model, traceable(model, examples), signature)
    # What differs between examples may hang together, so it is for the exporter to say; the comparison decides.
    kinds = {"batch": torch.export.Dim.DYNAMIC} if signature.resizable else {}
    dynamic = {
        name: {axis: kinds.get(size, torch.export.Dim.AUTO) for axis, size in axes.items()}
        for name, axes in signature.axes.items()
    }
    shapes: tuple[Any, ...] = tuple(dynamic.values())
    if not signature.plain:
        model, shapes = Flat(model, examples).eval(), (shapes,)
    try:
        with quiet(), torch.no_grad():
            program = torch.export.export(model, args, kwargs, dynamic_shapes=dynamic if kwargs else shapes)
    except Exception as error:  # whatever the exporter meets in foreign code
        raise EquivalenceError(
            f"cannot export a torch.export program: the exporter failed ({type(error).__name__}: {first_line(error)})"
        ) from error
    for part in program.graph_module.modules():
        for node in part.graph.nodes if isinstance(part, torch.fx.GraphModule) else ():
            # Stack traces are paths of this machine.
            node.meta.pop("stack_trace", None)
    return program
