"""Weights that a network computes from other parameters whenever it runs, folded into plain ones.

`torch.nn.utils.weight_norm` and ``spectral_norm`` and their successors in ``parametrizations``, every other
parametrisation, the masks of ``torch.nn.utils.prune``, and convolutions and linear layers of other people's that
change their weight before they use it, for example by standardising it.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrize, prune, remove_spectral_norm, remove_weight_norm
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm
from torch.overrides import TorchFunctionMode

from compressor.architectures.same_padding import SamePaddedConv2d
from compressor.equivalence import FLOAT64_LIMIT, eval_mode, relative_difference
from compressor.errors import CompressorWarning, UsageError
from compressor.layer_kinds import PLAIN_CONVOLUTIONS

PLAIN = (*PLAIN_CONVOLUTIONS, nn.Linear)
# What computes with an input and a weight.
PRODUCTS = (F.conv1d, F.conv2d, F.conv3d, F.linear)
# Of what torch does by hooks, who takes them away.
REMOVERS: Mapping[type, Callable[..., nn.Module]] = {
    WeightNorm: remove_weight_norm,
    SpectralNorm: remove_spectral_norm,
    prune.BasePruningMethod: prune.remove,
}
NAMED = 3
FOLDED = "they are folded into plain weights, with which training goes on"


def computed(model: nn.Module) -> dict[str, str]:
    """The modules that compute a weight and can be folded, by name, each with the kind of computation."""
    kinds = {name: computation(model, name) for name, _ in model.named_modules()}
    return {name: kind for name, kind in kinds.items() if kind is not None}


def computation(model: nn.Module, name: str) -> str | None:
    """The kind of computation by which the module of that name makes a weight; None where it has plain ones."""
    # What is in a parametrised module computes its weight, and goes with it.
    return None if ".parametrizations." in f".{name}." else _kind(model.get_submodule(name))


def described(model: nn.Module) -> tuple[str, ...]:
    """`computed` in words."""
    return tuple(f"{kind} in {name or 'the network itself'}" for name, kind in computed(model).items())


def fold_weights(model: nn.Module, names: Collection[str] | None = None) -> tuple[str, ...]:
    """Make weights of ``model`` plain parameters, in place; in words what was folded, nothing when all are plain.

    ``names`` are modules that compute theirs, all by default. Outputs in eval mode stay the same.
    """
    what = described(model) if names is None else ()
    for name in computed(model) if names is None else names:
        module = model.get_submodule(name)
        if name and (plain := _equal(module)) is not None:
            model.set_submodule(name, plain)
        else:
            _strip(module)
    return what


def folded(model: nn.Module, names: Collection[str] | None = None) -> nn.Module:
    """``model`` itself where the weights of these modules, of all by default, are plain, else a copy where they are."""
    found = computed(model) if names is None else names
    results = _results(model)
    if not found and not results:
        return model
    # Torch copies no tensor that was computed from others.
    plain = copy.deepcopy(model, {id(tensor): tensor.detach().clone() for tensor in results})
    fold_weights(plain, found)
    return plain


def trainable(model: nn.Module, *, wrapped: bool) -> None:
    """`fold_weights` before a training, with a warning; `UsageError` where a wrapper for DDP knows the old weights."""
    what = described(model)
    if what and wrapped:
        raise UsageError(f"the network computes weights ({what[0]}); call fold_weights before it is wrapped for DDP")
    tell(fold_weights(model), f"{FOLDED}; make the optimizer after this", 4)


def tell(what: Sequence[str], follows: str, stacklevel: int) -> None:
    """Warn that the network computes weights, where it does, and of what ``follows``."""
    if what:
        more = f" and {len(what) - NAMED} more" if len(what) > NAMED else ""
        names = ", ".join(what[:NAMED]) + more
        text = f"the network computes weights from others whenever it runs ({names}); {follows}"
        warnings.warn(text, CompressorWarning, stacklevel=stacklevel + 1)


def _results(model: nn.Module) -> list[Tensor]:
    """Tensors that modules keep as attributes of what they have computed."""
    values = [value for module in model.modules() for value in vars(module).values()]
    return [value for value in values if isinstance(value, Tensor) and not value.is_leaf]


def _kind(module: nn.Module) -> str | None:
    if parametrize.is_parametrized(module):
        return _of_parametrization(module)
    for hook in module._forward_pre_hooks.values():
        if isinstance(hook, WeightNorm | SpectralNorm):
            return "weight_norm" if isinstance(hook, WeightNorm) else "spectral_norm"
        if isinstance(hook, prune.BasePruningMethod):
            return "a pruning mask"
    return type(module).__name__ if _equal(module) is not None else None


def _of_parametrization(module: nn.Module) -> str:
    kinds = [type(each).__name__ for parts in module.parametrizations.children() for each in parts.children()]  # type: ignore[union-attr]
    names = {"_WeightNorm": "weight_norm", "_SpectralNorm": "spectral_norm"}
    return ", ".join(dict.fromkeys(names.get(kind, kind) for kind in kinds))


@torch.no_grad()
def _strip(module: nn.Module) -> None:
    """Take away what computes the module's weights, which stay as they are now."""
    originals = [(name, parameter.requires_grad) for name, parameter in module.named_parameters()]
    values: dict[str, Any] = {}
    with eval_mode(module):
        if parametrize.is_parametrized(module):
            values = {name: getattr(module, name) for name in module.parametrizations}  # type: ignore[union-attr]
            # Not by torch's own function: copies of a module share the class that it changes.
            delattr(module, "parametrizations")
            module.__class__ = type(module).__bases__[0]
        hooks: list[Any] = [hook for hook in module._forward_pre_hooks.values() if isinstance(hook, tuple(REMOVERS))]
        for hook in hooks:
            name = hook._tensor_name if isinstance(hook, prune.BasePruningMethod) else hook.name
            REMOVERS[next(kind for kind in REMOVERS if isinstance(hook, kind))](module, name)
            values[name] = module._parameters.pop(name)
    for name, value in values.items():
        trained = any(free for other, free in originals if other.startswith((f"{name}_", f"parametrizations.{name}.")))
        module.register_parameter(name, nn.Parameter(value.detach().clone(), trained))


class _Watch(TorchFunctionMode):
    """The weights and biases that are multiplied with."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[Tensor, Tensor | None]] = []

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if function in PRODUCTS:
            given = dict(zip(("input", "weight", "bias"), args, strict=False)) | kwargs
            self.seen.append((given["weight"], given.get("bias")))
        return function(*args, **kwargs)


@torch.no_grad()
def _equal(module: nn.Module) -> nn.Module | None:
    """The plain layer that does what one of other people's does that changes its weight; None where there is none."""
    kind = next((kind for kind in PLAIN if isinstance(module, kind)), None)
    if kind is None or type(module).forward is kind.forward:
        return None
    exact = copy.deepcopy(module).cpu().double().eval()
    try:
        with _Watch() as watch:
            pairs = [(x, exact.forward(x)) for x in _inputs(exact)]
    except Exception:  # whatever its code raises that takes something else than such a layer does
        return None
    if len(watch.seen) != len(pairs) or any(weight.shape != module.weight.shape for weight, _ in watch.seen):
        return None
    weight, bias = watch.seen[0]
    if torch.equal(weight, exact.weight):  # type: ignore[arg-type]
        return None
    for candidate in (kind, SamePaddedConv2d) if kind is nn.Conv2d else (kind,):
        plain = _plain(candidate, exact, weight, bias)
        if all(relative_difference(out, plain(x)) <= FLOAT64_LIMIT for x, out in pairs):
            return plain.to(module.weight).train(module.training)  # type: ignore[arg-type]
    return None


def _inputs(layer: Any) -> Iterator[Tensor]:
    """Random inputs of several sizes, so that padding that depends on the size is seen."""
    generator = torch.Generator().manual_seed(0)
    spatial = 0 if isinstance(layer, nn.Linear) else len(layer.kernel_size)
    width = layer.in_features if spatial == 0 else layer.in_channels
    reach = (
        max((size * step for size, step in zip(layer.kernel_size, layer.dilation, strict=True)), default=0)
        if spatial
        else 0
    )
    for extra in (1, 2, 3):
        yield torch.randn(2, width, *(reach + extra,) * spatial, generator=generator, dtype=torch.float64)


def _plain(kind: type[nn.Module], layer: Any, weight: Tensor, bias: Tensor | None) -> nn.Module:
    """A layer of that kind with the sizes of ``layer`` and this weight and bias."""
    if kind is nn.Linear:
        plain: nn.Module = nn.Linear(layer.in_features, layer.out_features, bias=bias is not None)
    else:
        names = ("stride", "padding", "dilation", "groups", "padding_mode")
        options = {name: getattr(layer, name) for name in names}
        plain = kind(layer.in_channels, layer.out_channels, layer.kernel_size, bias=bias is not None, **options)
    trained = layer.weight.requires_grad
    plain.weight = nn.Parameter(weight.detach().clone(), trained)
    if bias is not None:
        plain.bias = nn.Parameter(bias.detach().clone(), trained)
    return plain
