"""The structures that Torch-Pruning's own tests are about, and how those tests have it prune them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
import torch_pruning as tp
from torch import Tensor, nn
from torch_pruning_networks import (
    Cascade,
    Chain,
    Customised,
    Generator,
    Normalised,
    Scaled,
    Skip,
    SplitAndJoin,
    Stacked,
    ThreeWays,
    TwoInputs,
    WideAndDeep,
    grouped,
    lenet,
)

from compressor.equivalence import Inputs

Options = Callable[[nn.Module], dict[str, Any]]


@dataclass(frozen=True, kw_only=True)
class Case:
    """A network, and how a user would have Torch-Pruning prune it: as its test of that structure does."""

    name: str
    follows: str
    """The test of Torch-Pruning that is about this structure."""
    build: Callable[[], nn.Module]
    inputs: Callable[[int], Inputs]
    """The inputs, by batch size."""
    heads: tuple[str, ...] = ("head",)
    """The layers that make the outputs: the user asks Torch-Pruning to leave them alone."""
    options: Options = lambda model: {}
    """More arguments for the pruner, and ``pruner`` itself."""
    mended: Callable[[nn.Module], None] = lambda model: None
    """What the test corrects by hand in the pruned network."""
    reload: str | None = None
    """How the pruned network is saved and loaded again, a history or a state_dict; ``name`` is torchvision's."""


def cases() -> dict[str, Case]:
    """Every case by name; those that begin with torchvision: need that library."""
    return {case.name: case for case in (*small(), *torchvision())}


def small() -> tuple[Case, ...]:
    """Networks of a few layers."""
    case = partial(Case, inputs=images(10, 7))
    return (
        case(name="concat", follows="test_concat", build=WideAndDeep, inputs=vectors(32)),
        case(name="cascaded concat", follows="test_cascaded_concat", build=Cascade),
        case(name="concat and split", follows="test_concat_split", build=SplitAndJoin, heads=("joint.0",)),
        case(name="split", follows="test_split", build=ThreeWays, inputs=images(16, 7), heads=("twice.0", "once.0")),
        case(
            name="reshape", follows="test_reshape", build=Generator, inputs=vectors(32),
            options=lambda model: {"root_module_types": [nn.ConvTranspose2d, nn.Linear]},
        ),
        case(name="concat of rows", follows="test_non_feature_dim_cat", build=Stacked, inputs=images(32, 7)),
        case(
            name="inputs and outputs", follows="test_multiple_inputs_and_outputs", build=partial(TwoInputs, False),
            inputs=vectors(64, 48), heads=("left.0", "right.0", "joint"),
        ),
        case(
            name="inputs and outputs, hidden layers", follows="test_multiple_inputs_and_outputs",
            build=partial(TwoInputs, True), inputs=vectors(64, 48), heads=("left.1", "right.1", "joint"),
        ),
        case(
            name="layer of one's own", follows="test_customized_layer", build=partial(Customised, False),
            inputs=vectors(32), options=_registered,
        ),
        case(
            name="unused parameter", follows="test_unused_parameters", build=partial(Customised, True),
            inputs=vectors(32), options=_registered,
        ),
        case(name="bare parameter", follows="test_unwrapped_parameters", build=Scaled, inputs=images(3, 12)),
        case(
            name="one channel out", follows="test_single_channel_output", build=partial(Chain, last=1),
            inputs=images(3, 16), heads=("layers.2",),
        ),
        case(
            name="transposed", follows="test_pruner", build=partial(Chain, transposed=True, last=8),
            inputs=images(3, 16), heads=("layers.2",), options=_isomorphic,
        ),
        case(name="lenet", follows="test_dependency_lenet", build=lenet, inputs=images(1, 28), heads=("11",)),
        case(name="shortcut", follows="test_fully_connected_layers", build=Skip, inputs=vectors(32)),
        case(name="groups", follows="test_torchvision_models", build=grouped, inputs=images(3, 10), heads=("10",)),
    )  # fmt: skip


def torchvision() -> tuple[Case, ...]:
    """One or two of every family of torchvision, with random weights."""
    sweep, fc, first = partial(_torchvision, "test_backward"), ("fc",), ("classifier.1",)
    return (
        *(sweep(name, ("classifier.6",)) for name in ("alexnet", "vgg11", "vgg11_bn")),
        _torchvision("test_load", "resnet18", fc, reload="history"),
        _torchvision("test_soft_pruning", "resnet50", fc, options=lambda model: {"global_pruning": True}),
        _torchvision("test_isomorphic", "resnet34", fc, options=_isomorphic),
        *(sweep(name, fc) for name in ("resnext50_32x4d", "wide_resnet50_2", "regnet_y_400mf", "regnet_x_400mf")),
        _torchvision("test_regularization", "densenet121", ("classifier",), options=_regularised),
        sweep("googlenet", fc, arguments={"aux_logits": False, "init_weights": False}),
        sweep("inception_v3", fc, 128, arguments={"aux_logits": False, "init_weights": False}),
        *(sweep(name, first) for name in ("mobilenet_v2", "mnasnet0_5", "efficientnet_b0", "efficientnet_v2_s")),
        *(sweep(name, ("classifier.3",)) for name in ("mobilenet_v3_small", "mobilenet_v3_large")),
        *(sweep(name, first) for name in ("squeezenet1_0", "squeezenet1_1")),
        _torchvision("test_unwrapped_parameters", "convnext_tiny", ("classifier.2",)),
        _torchvision(
            "test_serialization", "vit_b_32", ("heads.head",), 224, options=_whole_heads, mended=_hidden,
            reload="state_dict",
        ),
        *(
            _torchvision("test_torchvision_models", f"segmentation.{name}", heads, options=_map, arguments=arguments)
            for name, heads, arguments in (
                ("fcn_resnet50", ("classifier.4",), {"aux_loss": None}),
                ("deeplabv3_mobilenet_v3_large", ("classifier.4",), {"aux_loss": None}),
                ("lraspp_mobilenet_v3_large", ("classifier.low_classifier", "classifier.high_classifier"), {}),
            )
        ),
        _torchvision("left out of test_torchvision_models", "shufflenet_v2_x0_5", fc),
        _torchvision("left out of test_torchvision_models", "swin_t", ("head",), 224),
    )  # fmt: skip


def _torchvision(
    follows: str, name: str, heads: Sequence[str], side: int = 96, arguments: dict[str, Any] | None = None, **more: Any
) -> Case:
    def build() -> nn.Module:
        from torchvision import models

        factory, known = models, name
        if name.startswith("segmentation."):
            factory, known = models.segmentation, name.partition(".")[2]
        weights = {"weights_backbone": None} if factory is not models else {}
        return getattr(factory, known)(weights=None, **weights, **(arguments or {}))

    ref = f"torchvision:{name}"
    return Case(name=ref, follows=follows, build=build, inputs=images(3, side), heads=tuple(heads), **more)


def images(channels: int, side: int) -> Callable[[int], Tensor]:
    """Random square images."""
    return lambda batch: _normal(batch, channels, side, side)


def vectors(*lengths: int) -> Callable[[int], Inputs]:
    """Random vectors, one input of each length."""
    if len(lengths) == 1:
        return lambda batch: _normal(batch, lengths[0])
    return lambda batch: tuple(_normal(batch, length) for length in lengths)


def _normal(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


class NormalisedPruner(tp.pruner.BasePruningFunc):  # type: ignore[misc]
    """What Torch-Pruning asks of a user who has a layer of his own: how it loses channels."""

    def prune_out_channels(self, layer: Normalised, idxs: Sequence[int]) -> nn.Module:
        """Channels go from the parameters and from both sides of the linear layer."""
        kept = [place for place in range(layer.width) if place not in set(idxs)]
        layer.width = len(kept)
        layer.scale, layer.shift = nn.Parameter(layer.scale.data[kept]), nn.Parameter(layer.shift.data[kept])
        tp.prune_linear_in_channels(layer.linear, idxs)
        tp.prune_linear_out_channels(layer.linear, idxs)
        return layer

    prune_in_channels = prune_out_channels

    def get_out_channels(self, layer: Normalised) -> int:
        """Its width."""
        return layer.width

    get_in_channels = get_out_channels


def _registered(_: nn.Module) -> dict[str, Any]:
    return {"customized_pruners": {Normalised: NormalisedPruner()}}


def _isomorphic(_: nn.Module) -> dict[str, Any]:
    return {"global_pruning": True, "isomorphic": True}


def _regularised(_: nn.Module) -> dict[str, Any]:
    importance = tp.importance.GroupMagnitudeImportance(p=2)
    return {"pruner": tp.pruner.GroupNormPruner, "importance": importance, "global_pruning": True}


def _whole_heads(model: nn.Module) -> dict[str, Any]:
    return {"round_to": model.encoder.layers[0].num_heads}


def _hidden(model: nn.Module) -> None:
    model.hidden_dim = model.conv_proj.out_channels


def _map(_: nn.Module) -> dict[str, Any]:
    return {"output_transform": lambda outputs: outputs["out"]}
