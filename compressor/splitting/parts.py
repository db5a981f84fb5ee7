"""What a splitting is made of, as the method describes it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from torch import Tensor, nn

from compressor.errors import UnknownName, UsageError
from compressor.layer_kinds import PRODUCERS, matrices
from compressor.penalties import GroupPenalty, group_penalty, penalty
from compressor.penalties.group import GroupLasso
from compressor.penalties.scaled import Scaled
from compressor.splitting.config import SplittingConfig, matches
from compressor.splitting.copies import Copies, absolute, in_units
from compressor.splitting.rows import Lasso, prox_of_rows
from compressor.splitting.schedule import Schedule

# In the papers their knots lie at multiples of the threshold; everywhere else they have a fixed shape.
SCALED = ("scad", "mcp")


def schedule_of(penalties: SplittingConfig, total_steps: int, epoch_steps: int) -> Schedule:
    """The growth of beta."""
    start, end = penalties.beta_range
    growth = penalties.growth and (penalties.growth[0], penalties.growth[1] * epoch_steps)
    return Schedule(total_steps=total_steps, beta_start=start, beta_end=end, growth=growth)


def weights_of(model: nn.Module, penalties: SplittingConfig) -> list[Tensor]:
    """The trained weights of the penalised layers, each once; of convolutions alone where the method has none else.

    `UnknownName` for a pattern that no such layer matches.
    """
    every: dict[str, list[Tensor]] = {}
    for name, module in model.named_modules():
        weights = [getattr(module, weight) for weight in matrices(module)] if isinstance(module, PRODUCERS) else []
        if trained := [weight for weight in weights if weight.requires_grad]:
            every[name] = trained
    layers = penalties.layers
    for pattern in layers:
        if not any(matches(name, [pattern]) for name in every):
            raise UnknownName("trainable convolution or linear layer", pattern, every)
    found = list(dict.fromkeys(weight for name in every if matches(name, layers) for weight in every[name]))
    return found if penalties.described.split_rows is None else _convolutions(found)


def copies_of(weights: Sequence[Tensor], penalties: SplittingConfig) -> Copies | None:
    """V, where there is something to split."""
    known, strength = penalties.described, penalties.strength or 0.0
    if known.split_rows is not None:
        groups: GroupPenalty = group_penalty(penalties.groups_name, **penalties.group_penalty_args)
        return Copies(weights, partial(absolute, prox_of_rows(groups, known.split_rows)), strength)
    if not penalties.splits_entries:
        return None
    entries = penalty(penalties.penalty_name, **penalties.penalty_args)
    if known.target:
        return Copies(weights, partial(in_units, entries), strength * penalties.beta_range[0])
    papers = Scaled(entries) if penalties.penalty_name in SCALED else entries
    return Copies(weights, partial(absolute, papers.prox), strength)


def lasso_of(weights: Sequence[Tensor], penalties: SplittingConfig) -> Lasso | None:
    """The group penalty on W by subgradient, where there is one."""
    known, lam = penalties.described, penalties.group_strength or 0.0
    if known.lasso_rows is None:
        return None
    if known.split_rows is not None:
        return Lasso(weights, [GroupLasso()] * len(weights), known.lasso_rows, lam, root_of_size=known.root_of_size)
    if penalties.groups_name == "none":
        return None
    if penalties.groups_name == "lasso":
        return Lasso(weights, [GroupLasso()] * len(weights), known.lasso_rows, lam, root_of_size=known.root_of_size)
    # Bui et al. let the exclusive part of CGES grow with depth, and weight no group by its size.
    given = penalties.group_penalty_args
    built = [group_penalty("cges", **{"mu": depth / len(weights), **given}) for depth, _ in enumerate(weights)]
    return Lasso(weights, built, known.lasso_rows, lam, root_of_size=False)


def _convolutions(weights: Sequence[Tensor]) -> list[Tensor]:
    found = [weight for weight in weights if weight.ndim > 2]
    if not found:
        raise UsageError("--method rgsm penalises convolutions, and none of the trainable layers is one")
    return found
