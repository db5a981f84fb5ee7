"""``compress list``: what there is, by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from compressor.cli.command import command
from compressor.cli.console import Console, percent, table
from compressor.errors import UnknownName

Rows = list[dict[str, Any]]


@command("list")
@click.argument("kind", metavar="penalties|methods|models|architectures|augmentations|data|tasks|providers")
def list_(console: Console, kind: str) -> None:
    """List the penalties, methods, models and so on, by name."""
    if kind not in KINDS:
        raise UnknownName("list", kind, KINDS)
    rows = KINDS[kind]()
    headers = list(rows[0])
    console.result(rows, table(headers, [[_text(row[key], key) for key in headers] for row in rows]))


def _penalties() -> Rows:
    from dataclasses import fields

    from compressor.penalties import GROUP_PENALTIES, PENALTIES
    from compressor.registry import resolve, summary

    def row(name: str, build: Any, on: str, about: str) -> dict[str, Any]:
        options = [part for part in fields(build) if part.init] if build else []
        return {
            "name": name,
            "on": on,
            "parameters": {part.name: part.default for part in options},
            "allowed": {part.name: part.metadata["allowed"] for part in options},
            "what it does": about.replace("`", ""),
        }

    entries = {name: resolve("penalty", PENALTIES, name) for name in sorted(PENALTIES)}
    groups = {name: resolve("group penalty", GROUP_PENALTIES, name) for name in sorted(GROUP_PENALTIES)}
    return [
        row("none", None, "weights", "Single weights are not penalised"),
        *(row(name, build, "weights", summary(build)) for name, build in entries.items()),
        *(
            row(name, build, "channels", "As on weights, on norms of channels" if name in entries else summary(build))
            for name, build in groups.items()
        ),
    ]


def _models() -> Rows:
    from compressor.checkpoints import embedded, load
    from compressor.costs import count_macs, count_parameters

    networks = {name: load(path) for name, path in embedded().items()}
    return [
        {
            "name": name,
            "architecture": network.metadata.architecture.ref,
            "data": network.metadata.data.ref if network.metadata.data else "-",
            "test accuracy": percent(network.metadata.history[-1]["test_accuracy"]),
            "parameters": count_parameters(network.model),
            "MACs": count_macs(network.model, network.example_input()),
        }
        for name, network in networks.items()
    ]


def _architectures() -> Rows:
    from compressor.architectures import ARCHITECTURES
    from compressor.registry import resolve, summary

    factories = [(name, resolve("architecture", ARCHITECTURES, name)) for name in sorted(ARCHITECTURES)]
    return [
        {"name": name, "input": "x".join(map(str, factory().input_shape)), "what it is": summary(factory)}
        for name, factory in factories
    ]


def _data() -> Rows:
    from compressor.data import DATASETS
    from compressor.registry import resolve, summary

    readers = [resolve("data set", DATASETS, name) for name in sorted(DATASETS)]
    return [{"--data": reader.form, "what it is": summary(reader)} for reader in readers]


def _augmentations() -> Rows:
    from compressor.data.augmentations import AUGMENTATIONS
    from compressor.registry import resolve, summary

    kinds = {name: resolve("augmentation", AUGMENTATIONS, name) for name in sorted(AUGMENTATIONS)}
    return [{"--augment": name, "what it does": summary(kind)} for name, kind in kinds.items()]


def _methods() -> Rows:
    from compressor.methods import METHODS

    return [
        {
            "name": name,
            "strength": known.strength,
            "beta": ":".join(f"{end:g}" for end in dict.fromkeys(known.beta)),
            "what it does": known.about,
        }
        for name, known in METHODS.items()
    ]


def _providers() -> Rows:
    from compressor.runtime import PROVIDERS, available

    here = set(available())
    return [
        {"name": name, "for": provider.about, "ONNX Runtime": provider.id, "here": "yes" if name in here else "no"}
        for name, provider in PROVIDERS.items()
    ]


def _tasks() -> Rows:
    from dataclasses import fields

    from compressor.registry import resolve, summary
    from compressor.tasks import TASKS

    tasks = {name: resolve("task", TASKS, name) for name in TASKS}
    return [
        {
            "name": name,
            "metric": f"{task.primary}, {'higher' if task.larger_is_better else 'lower'} is better",
            "options": {option.name: option.default for option in fields(task)},
            "what it does": summary(task),
        }
        for name, task in tasks.items()
    ]


KINDS: dict[str, Callable[[], Rows]] = {
    "architectures": _architectures,
    "augmentations": _augmentations,
    "data": _data,
    "methods": _methods,
    "models": _models,
    "penalties": _penalties,
    "providers": _providers,
    "tasks": _tasks,
}


def _text(value: Any, header: str) -> str:
    if isinstance(value, dict):
        joint = " " if header == "allowed" else "="
        return ", ".join(f"{key}{joint}{item}" for key, item in value.items())
    return f"{value:,}" if isinstance(value, int) else str(value)
