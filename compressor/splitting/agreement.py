"""What must be the same in two splittings, or on all ranks, for one to go on with the state of the other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from compressor.errors import UsageError
from compressor.shards import any_sharded, local, summed

if TYPE_CHECKING:
    from torch import nn

    from compressor.ranks import Ranks
    from compressor.splitting.base import SplittingBase


def check_state(settings: Mapping[str, Any], state: Mapping[str, Any]) -> None:
    """Raise `UsageError` unless ``state`` was taken of a splitting with these ``settings``."""
    for key, own in settings.items():
        if state.get(key) != own:
            raise UsageError(
                f"the state belongs to another splitting: its {key} is {state.get(key)}, that of this one {own}"
            )


def agree(splitting: SplittingBase) -> None:
    """Take over the state of the first rank, where there are several; `UsageError`, on all, unless they are alike."""
    if not splitting.ranks.several:
        return
    # A state that is in shards only all ranks can bring together, each from its part.
    step = {"step": splitting.step} if any_sharded(splitting.model) else {}
    first, *others = splitting.ranks.of_each(dict(_flat(splitting.settings() | step)))
    for rank, other in enumerate(others, start=1):
        key = next((key for key in first | other if first.get(key) != other.get(key)), None)
        if key is not None:
            raise UsageError(
                f"the ranks' splittings differ: {key} is {first.get(key)} on rank 0 and {other.get(key)} on rank "
                f"{rank}; make it the same on all"
            )
    if splitting.step == 0:
        splitting.pool()
    state = splitting.state_dict()
    splitting.load_state_dict(splitting.ranks.of_first(lambda: state))


def refuse_other_weights(splitting: SplittingBase) -> None:
    """Raise `UsageError`, on all ranks, unless they have the same weights."""
    other = differing(splitting.model, splitting.ranks)
    if other is not None:
        raise UsageError(
            f"after a step the ranks have different weights ({other}), so they do not train one network: wrap it in "
            "DistributedDataParallel, or train a network each without torch.distributed"
        )


def differing(model: nn.Module, ranks: Ranks) -> str | None:
    """The first parameter of ``model`` that is not the same on all ``ranks``; they all ask."""
    if not ranks.several:
        return None
    names, parameters = zip(*model.named_parameters(), strict=True)
    found = summed([local(parameter).detach().abs().double().sum() for parameter in parameters], parameters)
    # As text, in which two numbers that are none are equal.
    sums = {name: str(float(size)) for name, size in zip(names, found, strict=True)}
    each = ranks.of_each(sums)
    return next((name for name in sums if len({one[name] for one in each}) > 1), None)


def _flat(settings: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for key, value in settings.items():
        if isinstance(value, Mapping):
            yield from ((f"{key} {inner}", part) for inner, part in value.items())
        else:
            yield key, value
