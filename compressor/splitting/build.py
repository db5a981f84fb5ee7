"""The splitting that a configuration asks for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from torch import nn

from compressor.equivalence import Inputs
from compressor.groups import ChannelGroup
from compressor.records.costs import Aims
from compressor.splitting.config import SplittingConfig
from compressor.splitting.paper import PaperSplitting
from compressor.splitting.slimming import Slimming
from compressor.splitting.splitting import Splitting

# What belongs to the stages, which have data; to the papers' methods alone: method budget has one group penalty.
OF_STAGES = {"trials"}
OF_PAPERS = {"method", "group_penalty", "group_penalty_args", "group_strength", "growth"}
OF_BUDGET = {
    "target_macs",
    "target_params",
    "target_latency",
    "target_size",
    "compressed",
    "target_zeros",
    "keep_blocks",
    "saliency",
    "seed",
}
OF_SLIMMING = ("strength", "align", "layers", "total_steps", "groups")


def build_splitting(
    model: nn.Module,
    example_input: Inputs,
    config: SplittingConfig,
    *,
    total_steps: int,
    epoch_steps: int,
    samples: int,
    groups: Sequence[ChannelGroup] | None = None,
    aims: Aims | None = None,
    seed: int = 0,
) -> Splitting | PaperSplitting | Slimming:
    """`Splitting`, `PaperSplitting` or `Slimming`, by the method of ``config``; what they raise."""
    options: dict[str, Any] = {
        field.name: getattr(config, field.name) for field in fields(config) if field.name not in OF_STAGES
    }
    options |= {"total_steps": total_steps, "groups": groups, "seed": seed}
    beta = config.beta_range[0]
    if config.described.scales:
        return Slimming(model, example_input, **{key: options[key] for key in OF_SLIMMING}, beta=beta)
    if config.described.target:
        return Splitting(model, example_input, aims=aims, **{k: v for k, v in options.items() if k not in OF_PAPERS})
    options = {key: value for key, value in options.items() if key not in OF_BUDGET}
    options |= {"beta": beta, "epoch_steps": epoch_steps, "samples": samples}
    return PaperSplitting(model, example_input, **options)
