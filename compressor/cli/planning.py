"""What ``run`` and ``sweep`` have in common: the options of a run, and the plan that they make."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from compressor.cli.options import costs_option, runtime_options, stack, teacher_share_option, training_options
from compressor.cli.penalty_options import penalty_options

if TYPE_CHECKING:
    from compressor.checkpoints import Network
    from compressor.data.feeds import Data
    from compressor.pipeline import RunPlan

STATES = ("checkpoint_every", "checkpoint_steps")
PLAN = (*STATES, "opset", "threads", "provider", "max_seconds", "log", "allow_chance", "allow_fallback")


def run_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Decorate a command with everything that says what a run does, but for its data and network."""
    epochs = click.option(
        "--epochs",
        type=int,
        default=12,
        show_default=True,
        help="Epochs in all, of one learning rate curve: a sixth with the penalty, the others to recover.",
    )
    opset = click.option(
        "--opset", type=int, default=18, show_default=True, help="Version of the ONNX operator set, 17 to 23."
    )
    max_seconds = click.option(
        "--max-seconds", type=float, default=60.0, show_default=True, help="Seconds that measuring latency may take."
    )
    allow_chance = click.option(
        "--allow-chance",
        is_flag=True,
        help="Go on although the dense network is no better than guessing on the test part.",
    )
    training = stack(penalty_options, epochs, teacher_share_option, training_options)
    return stack(training, opset, runtime_options, max_seconds, costs_option, allow_chance)(function)


def plan_of(options: dict[str, Any], command: str) -> RunPlan:
    """The run that the options describe; `UsageError` for what it cannot be."""
    from compressor.cli.launching import crew_of
    from compressor.cli.training import costs_of, recipe_of
    from compressor.errors import UsageError
    from compressor.methods import method
    from compressor.pipeline import RunPlan
    from compressor.splitting import SplittingConfig

    if not method(options["method"]).target:
        raise UsageError(
            f"a run needs a target, which --method {options['method']} does not have; "
            "use compress fine-tune, then compress shrink"
        )
    recipe = recipe_of(options)
    penalties = SplittingConfig(**{key: options[key] for key in SplittingConfig.__dataclass_fields__})
    others = {key: options[key] for key in PLAN}
    crew = crew_of(options)
    return RunPlan(recipe=recipe, penalties=penalties, costs=costs_of(options), command=command, crew=crew, **others)


def notes_of(plan: RunPlan, network: Network, data: Data) -> tuple[str, ...]:
    """Notes for the reader of its report; from now on the other processes are there that a launcher has started.

    `UsageError` where the processes cannot train ``network`` together.
    """
    from compressor.cli.launching import expect
    from compressor.cli.loading import provenance
    from compressor.pipeline.teacher_views import asked_live
    from compressor.training.sharding import check_shards
    from compressor.training.team import check_together

    check_together(network.model, plan.recipe, data, plan.processes)
    if plan.crew is not None and plan.crew.in_shards:
        check_shards(network.model, plan.recipe)
    expect(plan.crew, plan.recipe)
    return *provenance(network.metadata.data, data), *asked_live(data)
