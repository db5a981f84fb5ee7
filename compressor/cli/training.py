"""What the commands that train have in common: the teacher, and what people and machines read of a training."""

from __future__ import annotations

import dataclasses
import filecmp
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compressor.cli.console import Console, metric_text, percent, table

if TYPE_CHECKING:
    from torch import nn

    from compressor.checkpoints import Network
    from compressor.data.feeds import Data
    from compressor.records.costs import Costs
    from compressor.records.run import Target
    from compressor.records.stages import FineTuning, Projection
    from compressor.splitting import SplittingConfig
    from compressor.stages.aim import Runtime
    from compressor.stages.fine_tune import FineTuned
    from compressor.training.recipe import Recipe
    from compressor.training.states import State, States


def recipe_of(options: dict[str, Any]) -> Recipe:
    """The training options as a recipe; a missing device is told here, before anything is loaded."""
    from compressor.cli.launching import check_machine
    from compressor.errors import UsageError
    from compressor.loggers import require_loggers
    from compressor.training.recipe import Recipe

    if options["teacher_share"] is not None and options.get("teacher", "the dense network") is None:
        raise UsageError(f"--teacher-share {options['teacher_share']:g} needs a --teacher, whose share it is")
    known = options.keys() & Recipe.__dataclass_fields__.keys()
    recipe = Recipe(**{key: options[key] for key in known if options[key] is not None})
    check_machine(options, recipe)
    require_loggers(options["log"])
    return recipe


def costs_of(options: dict[str, Any]) -> Costs | None:
    """What ``--costs`` holds, for the runtime that is asked for."""
    from compressor.codec import read_costs
    from compressor.errors import UsageError

    if options["costs"] is None:
        return None
    if options["target_latency"] is None:
        raise UsageError("--costs needs a --target-latency, which they foretell")
    costs = read_costs(options["costs"])
    for name, known in (("threads", costs.threads), ("provider", costs.provider)):
        if options[name] != known:
            raise UsageError(f"--costs {options['costs']} are those of --{name} {known}, got --{name} {options[name]}")
    return costs


def check_outputs(out: Path, *, overwrite: bool) -> None:
    """Raise `UsageError` when the checkpoint ``out`` or the metrics beside it cannot be written there.

    They may exist where a training was interrupted: `train_to` knows whether it was that, while it wrote its result.
    """
    from compressor.checkpoints import SUFFIXES
    from compressor.cli.publishing import check_outs
    from compressor.training.states import folders_of

    interrupted = bool(folders_of(out.with_suffix("")))
    check_outs([(out, SUFFIXES), (out.with_suffix(".jsonl"), (".jsonl",))], overwrite=overwrite or interrupted)


def train_to(
    console: Console,
    out: Path,
    network: Network,
    data: Data,
    recipe: Recipe,
    penalties: SplittingConfig | None,
    teacher: nn.Module | None,
    options: dict[str, Any],
    runtime: Runtime | None = None,
) -> FineTuned:
    """Train ``network``, or go on with a training that was interrupted, and write the result to ``out``.

    Without ``penalties`` that is recovery; the targets of penalties are measured in ``runtime``. What is at ``out``
    stays until the result is whole.
    """
    from compressor.checkpoints.rehearsal import rehearse_saving
    from compressor.cli.launching import crew_of, expect
    from compressor.loggers import logging_to
    from compressor.splitting import SplittingConfig
    from compressor.stages.fine_tune import fine_tune
    from compressor.stages.recover import recover
    from compressor.training.settings import settings_fingerprint
    from compressor.training.states import States

    rehearse_saving(network)
    if penalties is None:
        title, work = "recover", recover
    else:
        tune = partial(fine_tune, penalties=penalties, costs=costs_of(options), runtime=runtime)
        title, work = "fine-tune", tune
    settings, base = dataclasses.asdict(recipe), out.with_suffix("")
    crew = crew_of(options)
    expect(crew, recipe)
    processes = crew.size if crew is not None else 1
    with (
        States(base, every=options["checkpoint_every"], steps=options["checkpoint_steps"]) as states,
        logging_to(options["log"], out.with_suffix(".logs"), settings) as log,
    ):
        if not options["overwrite"] and (out.exists() or out.with_suffix(".jsonl").exists()):
            own = penalties or SplittingConfig()
            asked = settings_fingerprint(network, data, recipe, own, teacher, processes=processes)
            _require_written_by(states.open(asked), out, recipe)
        with console.progress(title) as progress:
            tuned = work(network, data, recipe, teacher=teacher, states=states, crew=crew, log=log, progress=progress)
        _write_result(tuned, out, states, overwrite=options["overwrite"])
    states.remove()
    return tuned


def _require_written_by(resumed: State | None, out: Path, recipe: Recipe) -> None:
    """Raise `UsageError` for files at ``out``, unless the training was interrupted when it may have written them."""
    from compressor.files import refuse_existing

    if resumed is None or resumed.course.done < recipe.epochs:
        for file in (out, out.with_suffix(".jsonl")):
            refuse_existing(file, overwrite=False)


def _write_result(tuned: FineTuned, out: Path, states: States, *, overwrite: bool) -> None:
    """Checkpoint and metrics, each whole; `UsageError` when ``out`` holds another checkpoint that is not to go."""
    from compressor.checkpoints import save
    from compressor.codec import write_metrics
    from compressor.files import refuse_existing

    whole = states.folder / f"result{out.suffix}"
    save(tuned.network, whole, overwrite=True)
    if not overwrite and out.exists() and not filecmp.cmp(whole, out, shallow=False):
        refuse_existing(out, overwrite=False)
    whole.replace(out)
    write_metrics(out.with_suffix(".jsonl"), tuned.record.epochs)


def load_teacher(options: dict[str, Any]) -> nn.Module | None:
    """The teacher describes itself, or shares the architecture of MODEL."""
    from compressor.checkpoints import load
    from compressor.cli.loading import load_network
    from compressor.errors import UsageError

    if options["teacher"] is None:
        return None
    try:
        return load(options["teacher"], trust_arch=options["trust_arch"]).model
    except UsageError:
        return load_network(options["teacher"], {**options, "classes": None}).model


def warn_of_chance(console: Console, network: Network, data: Data, device: str) -> None:
    """Warn before the training when ``network``, which has weights, is no better than guessing."""
    from compressor.data.samples import DataSet
    from compressor.stages.chance import chance_doubt
    from compressor.stages.evaluate import evaluate
    from compressor.training.recipe import pick_device

    if not isinstance(data, DataSet):
        return
    metric = evaluate(network, data, device=pick_device(device)).metric
    if doubt := chance_doubt(network, data, metric):
        console.warn(doubt)


def require_met(targets: Sequence[Target], kept: Path) -> None:
    """Raise `TargetNotMet` when one of them was missed; ``kept`` is where the result lies all the same."""
    from compressor.errors import TargetNotMet

    missed = "; ".join(_missed(target) for target in targets if not target.met)
    if missed:
        raise TargetNotMet(f"{missed}; the result is kept in {kept}")


def _missed(target: Target) -> str:
    interval = "" if target.ci95 is None else " [{:.3f}–{:.3f}]".format(*target.ci95)
    match target.kind:
        case "size":
            how = "bytes after gzip -6" if target.compressed else "bytes"
            return f"the file has {target.reached:,.0f} {how}, but at most {target.asked:,.0f} was asked for"
        case "latency":
            return f"it takes {target.reached:.3f}{interval} of the time, but at most {target.asked:g} was asked for"
        case "drop":
            unit = target.unit or "points"
            return f"{target.reached:.2f} {unit}{interval} are lost, but at most {target.asked:g} was asked for"
    what = "MACs" if target.kind == "macs" else "parameters"
    return f"{target.reached:.3f} of the {what} are left, but at most {target.asked:g} was asked for"


def show_training(console: Console, record: FineTuning, out: Path) -> None:
    """Print the record of a training."""
    import msgspec

    from compressor.cli.publishing import wrote

    if record.undone:
        epochs = ", ".join(map(str, record.undone))
        console.warn(f"training diverged in epoch {epochs}, which was undone and repeated with half the learning rate")
    for warning in record.projection.warnings if record.projection is not None else ():
        console.warn(warning)
    projected = _projection_tables(record.projection) if record.projection is not None else []
    tried = [str(known) for known in (record.trials, record.precision) if known is not None]
    document = {"out": str(out), **msgspec.structs.asdict(record)}
    console.result(document, _metric_table(record), *projected, *tried, wrote(out))


def _metric_table(record: FineTuning) -> Any:
    steps = {
        "before": record.before,
        "after training": record.trained,
        "after projection": record.projected,
        "BatchNorm re-estimated": record.reestimated,
    }
    rows = [(name, metric_text(metric)) for name, metric in steps.items() if metric is not None]
    return table(("", f"test {record.trained.name}"), rows)


def _projection_tables(projection: Projection) -> list[Any]:
    shown: list[Any] = []
    kept = [
        (name, f"{after:,} of {before:,}", percent(after / before))
        for name, pair in (("MACs", projection.macs), ("parameters", projection.parameters))
        if pair is not None
        for before, after in [pair]
    ]
    if projection.target is None:
        zeros = [(name, percent(zero.weights), percent(zero.groups)) for name, zero in projection.sparsity.items()]
        shown.append(table(("zero before projection", "weights", "groups"), zeros))
    if kept:
        shown.append(table(("kept once the zero channels are removed", "", ""), kept))
    left = "" if projection.zeros is None else f"; {percent(projection.zeros)} of the penalised weights left are zero"
    died = f"; the penalty emptied {projection.died:,} channels" if projection.died else ""
    if projection.optimality is not None:
        left += f"; the channels that stay are worth {percent(projection.optimality)} of what the best choice can be"
    return [*shown, f"Gap |W - P(W)| / |W| before projection: {projection.gap:.1e}{left}{died}."]
