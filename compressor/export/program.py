"""PyTorch to a torch.export program (.pt2), checked: dynamic batch, and outputs that agree.

Written only: torch's own loader of such files may unpickle, so nothing here reads one that it has not just written.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from compressor.equivalence import Inputs, call, each
from compressor.errors import EquivalenceError, first_line
from compressor.export.files import on_cpu, publish, quiet
from compressor.export.parity import agreement
from compressor.files import scratch_folder
from compressor.records.run import Export

# What came with the network lies in the archive under this name, as JSON.
METADATA = "compressor.json"


def export_program(
    model: nn.Module,
    example_input: Inputs,
    path: str | Path,
    *,
    metadata: Mapping[str, str] | None = None,
    real_inputs: Tensor | None = None,
) -> Export:
    """Write ``model`` as a torch.export program with a dynamic batch; `EquivalenceError` when it differs from it.

    The file is loaded again and compared before it takes its place; else nothing is written. It opens with
    ``torch.export.load`` of the same torch or a newer one. ``metadata`` goes into it as JSON.
    """
    path = Path(path)
    with on_cpu(model), scratch_folder() as folder:
        draft = folder / path.name
        program = _exported(model, each(example_input, Tensor.cpu))
        with quiet():
            torch.export.save(program, draft, extra_files={METADATA: json.dumps(dict(metadata or {}))})
            again = torch.export.load(draft).module()
        parity = agreement(
            model,
            lambda x: [leaf.detach().numpy() for leaf in tree_leaves(call(again, x))],
            example_input,
            real_inputs,
            runner="torch.export",
        )
        publish(draft, path)
    return Export(
        variant=path.stem,
        exporter="torch.export",
        opset=None,
        torch=str(torch.__version__),
        fallback=None,
        parity=parity,
    )


def _exported(model: nn.Module, example: Inputs) -> torch.export.ExportedProgram:
    kwargs = dict(example) if isinstance(example, Mapping) else {}
    args = () if kwargs else (example,) if isinstance(example, Tensor) else tuple(example)
    batch = {0: torch.export.Dim.DYNAMIC}
    try:
        with quiet(), torch.no_grad():
            program = torch.export.export(
                model, args, kwargs, dynamic_shapes=dict.fromkeys(kwargs, batch) if kwargs else (batch,) * len(args)
            )
    except Exception as error:  # whatever the exporter meets in foreign code
        raise EquivalenceError(
            f"cannot export a torch.export program: the exporter failed ({type(error).__name__}: {first_line(error)})"
        ) from error
    for part in program.graph_module.modules():
        for node in part.graph.nodes if isinstance(part, torch.fx.GraphModule) else ():
            # Stack traces are paths of this machine.
            node.meta.pop("stack_trace", None)
    return program
