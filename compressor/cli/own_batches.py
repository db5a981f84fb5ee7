"""From ``--data file.py:NAME`` and ``--task`` to a user's own batches and task, and what does not go with them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from compressor.cli.parsing import parse_arguments
from compressor.errors import UsageError

if TYPE_CHECKING:
    from compressor.data.loaders import Loaders
    from compressor.data.samples import DataSet

# What decides how a data set is read, by the name of the option; a user's batches are made elsewhere.
READING = {
    "val_fraction": "--val-fraction",
    "split_seed": "--split-seed",
    "max_train": "--max-train",
    "data_workers": "--data-workers",
    "normalize": "--normalize",
    "batch_size": "--batch-size",
    "augment": "--augment",
}


def own_batches(options: dict[str, Any], *, needs_task: bool) -> Loaders | None:
    """The batches that a function of the user's makes, which ``--data`` names; None where it names none.

    Only the command line may name code: never a file that is read. Without a task they are good for all that needs
    inputs alone. `UsageError` for options that would change nothing.
    """
    from compressor.data.loaders import is_code, load_loaders
    from compressor.tasks import Task, load_task

    ref = options["data"]
    if ref is None or not is_code(ref):
        return None
    context = click.get_current_context()
    for name, option in READING.items():
        if name in options and context.get_parameter_source(name) not in {None, ParameterSource.DEFAULT}:
            raise UsageError(f"{option} does not go with --data {ref}, which makes its own batches")
    if options["task"] is None and (needs_task or options["task_args"]):
        raise UsageError(f"--data {ref} needs a --task: your own, or one of compress list tasks")
    args = parse_arguments(options["task_args"], "--task-arg")
    return load_loaders(ref, Task() if options["task"] is None else load_task(options["task"], args))


def for_task(data: DataSet, options: dict[str, Any]) -> DataSet:
    """A data set with the task that the options name; `UsageError` for one that needs other labels than classes."""
    from compressor.tasks import TASKS, load_task

    name = options["task"]
    if name is None and not options["task_args"]:
        return data
    if name in TASKS.keys() - {"classification"}:
        raise UsageError(
            f"--task {name} needs batches of your own, --data file.py:loaders; {data.ref} has one class for each image"
        )
    return replace(data, task=load_task(name or "classification", parse_arguments(options["task_args"], "--task-arg")))
