"""``compress evaluate``: how well a checkpoint or an ONNX file does its task."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from compressor.cli.command import command
from compressor.cli.console import Console, metric_text
from compressor.cli.options import data_options, device_option, model_options

if TYPE_CHECKING:
    from compressor.data.loaders import Part
    from compressor.records.stages import Evaluation

    Found = tuple[Evaluation, tuple[str, ...]]

CHECKPOINT_OPTIONS = {
    "arch": "--arch",
    "arch_args": "--arch-arg",
    "trust_arch": "--trust-arch",
    "classes": "--classes",
    "state_key": "--state-key",
    "inputs": "--input",
    "examples": "--example",
    "outputs": "--outputs",
}


@command("evaluate")
@click.argument("model")
@click.option("--part", type=click.Choice(["test", "val", "train"]), default="test", show_default=True,
              help="Part of the data set to evaluate on.")  # fmt: skip
@device_option
@data_options
@model_options
def evaluate(console: Console, model: str, part: Part, device: str, **options: Any) -> None:
    """Measure how well a checkpoint or .onnx file does.

    Accuracy, or the metric of --task, with its 95 % confidence interval (CI) and the number of samples (n), and a line
    that says so when the network may have been trained on these samples.
    """
    import msgspec

    with console.progress("evaluate"):
        if model.endswith(".onnx"):
            record, notes = _onnx(console, Path(model), part, device, options)
        else:
            record, notes = _checkpoint(console, model, part, device, options)
    console.result(
        {"model": model, **msgspec.structs.asdict(record), "notes": notes},
        f"{model}: {record.metric.name} {metric_text(record.metric)} on the {part} part of {record.data}",
        *(f"{metric.name} {metric_text(metric)}" for metric in record.others),
        *notes,
    )


def _checkpoint(console: Console, model: str, part: Part, device: str, options: dict[str, Any]) -> Found:
    from compressor.cli.loading import load_network, load_samples, provenance
    from compressor.stages.evaluate import evaluate as work
    from compressor.training.recipe import pick_device

    where = pick_device(device)
    network, data = load_samples(console, load_network(model, options), options)
    return work(network, data, part=part, device=where), provenance(network.metadata.data, data, part=part)


def _onnx(console: Console, path: Path, part: Part, device: str, options: dict[str, Any]) -> Found:
    from compressor.cli.loading import provenance, read_samples
    from compressor.cli.own_batches import own_batches
    from compressor.data.normalization import Normalization
    from compressor.errors import UsageError
    from compressor.stages.evaluate import evaluate_onnx, onnx_facts

    if device not in {"auto", "cpu"}:
        raise UsageError(f"--device {device} is for checkpoints; an .onnx file is evaluated on the CPU")
    given = [option for name, option in CHECKPOINT_OPTIONS.items() if options[name]]
    if given:
        raise UsageError(f"{', '.join(given)} is for checkpoints; {path} is an .onnx file, which needs no architecture")
    own = own_batches(options, needs_task=True)
    facts = onnx_facts(path, own)
    if own is not None:
        return evaluate_onnx(path, own, None, part=part), provenance(facts.data, own, part=part)
    data = read_samples(console, facts.data, options["input_shape"] or facts.input_shape, facts.classes, options, path)
    asked = options["normalize"]
    normalization = Normalization.parse(asked) if asked else facts.normalization or data.normalization
    if normalization is None:
        console.warn(f"{path} does not say how inputs are normalised, so they stay in [0, 1]; pass --normalize")
    return evaluate_onnx(path, data, normalization, part=part), provenance(facts.data, data, part=part)
