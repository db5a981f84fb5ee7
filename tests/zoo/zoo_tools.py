"""What the zoo's tests and its table do with every network."""

from __future__ import annotations

import contextlib
import io
import warnings
from functools import cache

import torch
from torch import nn

from compressor.computed_weights import fold_weights
from compressor.export.flat import Flat, alike, by_name, signature_of
from compressor.export.parity import check_parity
from compressor.groups import find_groups, zero
from compressor.groups.draws import drawn
from compressor.inputs import converted
from compressor.precision import in_precision
from compressor.shrinking import remove_zero_channels


def seeded(pattern, seed=0):
    """The pattern's network with random weights, biases and statistics."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = pattern.build()
    fold_weights(model)
    generator = torch.Generator().manual_seed(seed + 1)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("bias"):
                parameter.normal_(generator=generator)
        for module in model.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.track_running_stats:
                module.running_mean.normal_(generator=generator)
                module.running_var.uniform_(0.5, 2, generator=generator)
    return model.eval()


@cache
def groups_of(pattern):
    """The groups of `seeded`, of every network once, because finding them is most of what its tests do."""
    return find_groups(seeded(pattern), pattern.inputs())


def with_zeros(pattern, seed=0):
    """The network, its groups that can be removed, and zeros in random channels, of each group another share.

    The groups are those of other weights, which is all the same to them.
    """
    model = seeded(pattern, seed)
    groups = [group for group in groups_of(pattern) if group.prunable]
    generator = torch.Generator().manual_seed(seed)
    places = drawn(groups, generator, beside=seed % 2 == 1)
    for group in groups:
        zero(model, group, places[group.name])
    return model, groups


@cache
def small_of(pattern):
    """What `with_zeros` is without its zero channels."""
    model, groups = with_zeros(pattern)
    return remove_zero_channels(model, pattern.inputs(), groups=groups, align=1).model


def quick_parity(model, inputs, path):
    """ONNX by the quick exporter, compared with PyTorch: the norm of the difference over that of the output."""
    model, inputs = in_precision(model, torch.float32), alike(model, converted(inputs, torch.float32))
    named, signature = by_name(model, inputs), signature_of(model, inputs)
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        torch.onnx.export(
            model if signature.plain else Flat(model, inputs).eval(), tuple(named.values()), str(path),
            input_names=list(named), dynamo=False, opset_version=18, dynamic_axes=signature.axes,
        )  # fmt: skip
    return check_parity(model, path, inputs, None).norm_rel
