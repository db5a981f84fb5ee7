"""The weights of which the entries or the papers' groups are penalised, or the scales of norms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase

from torch import Tensor, nn

from compressor.bare_weights import bare_weights
from compressor.equivalence import Inputs
from compressor.errors import UnknownName, UsageError
from compressor.groups import unwrapped
from compressor.layer_kinds import NORMS, PRODUCERS, matrices
from compressor.positions import output_positions
from compressor.shards import any_sharded
from compressor.splitting.config import SplittingConfig


def penalised_weights(model: nn.Module, example_input: Inputs, config: SplittingConfig) -> dict[str, Tensor]:
    """The trained weights of the penalised layers by name, each once; of convolutions alone where the method says so.

    Parameters that other people's modules multiply with are weights of layers too. In method slimming they are the
    scales of BatchNorm. `UnknownName` for a pattern that no such layer matches.
    """
    if config.described.scales:
        return _scales(model, config)
    called = output_positions(model, example_input)
    bare = bare_weights(model, example_input, called)
    every: dict[str, dict[str, Tensor]] = {}
    for name, module in model.named_modules():
        weights = list(matrices(module)) if isinstance(module, PRODUCERS) else []
        prefix = f"{name}.".lstrip(".")
        own = {
            other.removeprefix(prefix)
            for other, weight in bare.items()
            if weight.matrix and other.rpartition(".")[0] == name
        }
        weights += sorted(own - set(weights))
        trained = {f"{prefix}{weight}": getattr(module, weight) for weight in weights}
        trained = {key: weight for key, weight in trained.items() if weight.requires_grad}
        if trained:
            every[name] = trained
    _check_patterns("trainable convolution or linear layer", config.layers, every)
    chosen: dict[str, Tensor] = {}
    for name, weights_of_it in every.items():
        if matches(name, config.layers):
            chosen |= {key: w for key, w in weights_of_it.items() if all(w is not other for other in chosen.values())}
    return chosen if config.described.split_rows is None else _convolutions(chosen)


def matches(name: str, patterns: Sequence[str]) -> bool:
    """Whether a layer of that name is penalised: all are when there are no patterns."""
    return not patterns or any(fnmatchcase(name, pattern) for pattern in patterns)


def _check_patterns(kind: str, patterns: Sequence[str], layers: Mapping[str, object]) -> None:
    for pattern in patterns:
        if not any(matches(name, [pattern]) for name in layers):
            raise UnknownName(kind, pattern, layers)


def _scales(model: nn.Module, config: SplittingConfig) -> dict[str, Tensor]:
    norms = {name: module for name, module in model.named_modules() if isinstance(module, NORMS) and module.affine}
    norms = {name: norm for name, norm in norms.items() if norm.weight.requires_grad}
    if not norms:
        raise UsageError(
            f"--method {config.method} penalises the scales of BatchNorm, and no trainable layer has one; "
            "methods paper, rvsm and rgsm penalise other weights"
        )
    _check_patterns("trainable BatchNorm", config.layers, norms)
    chosen: dict[str, Tensor] = {}
    for name, norm in norms.items():
        if matches(name, config.layers) and all(norm.weight is not other for other in chosen.values()):
            chosen[f"{name}.weight".lstrip(".")] = norm.weight
    return chosen


def _convolutions(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    convolutions = {name: weight for name, weight in weights.items() if weight.ndim > 2}
    if not convolutions:
        raise UsageError("--method rgsm penalises convolutions, and none of the trainable layers is one")
    return convolutions


def twin_of(model: nn.Module, other: nn.Module) -> nn.Module:
    """The module in ``other``, an averaged copy of ``model``, that has its parameters; `UsageError` without one."""
    wanted = {name: parameter.shape for name, parameter in model.named_parameters()}
    candidate: object = unwrapped(other)[0]
    while isinstance(candidate, nn.Module):
        if {name: parameter.shape for name, parameter in candidate.named_parameters()} == wanted:
            if any_sharded(candidate) != any_sharded(model):
                raise UsageError("of the model to project and the one that was trained only one lies in shards (FSDP)")
            return candidate
        # Averaged and exponentially averaged models hold the copy as ``module``.
        inner = getattr(candidate, "module", None)
        candidate = unwrapped(inner)[0] if isinstance(inner, nn.Module) else None
    raise UsageError("the model to project has other parameters than the one that was trained; pass a copy of it")
