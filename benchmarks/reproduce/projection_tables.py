"""Tables and chart of projection_cost.py, from the results of its trainings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import sqrt
from typing import Any

import any_beta
from compressing import METHODS, STAGES
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from results import Row

Results = Sequence[Mapping[str, Any]]
COLUMNS = 3


def difference(before: Results, after: Results) -> tuple[int, int, float, float, float]:
    """Images lost and gained, points lost and their 95 % interval, from pairs of lists of wrong images.

    Agresti and Min, "Simple improved confidence intervals for comparing matched proportions", Statistics in Medicine
    24, 2005: Wald's interval after half an image is added to each of the four cells, so that no difference at all
    still has a width.
    """
    images = sum(result["images"] for result in before)
    pairs = [(set(one["wrong"]), set(other["wrong"])) for one, other in zip(before, after, strict=True)]
    lost, gained = (sum(len(pair[place] - pair[1 - place]) for pair in pairs) for place in (1, 0))
    total, b, c = images + 2, lost + 0.5, gained + 0.5
    middle = (b - c) / total
    half = 1.959964 * sqrt((b + c) / total - middle**2) / sqrt(total)
    return lost, gained, 100 * (lost - gained) / images, 100 * (middle - half), 100 * (middle + half)


def at(results: Results, stage: str) -> Results:
    """The wrong images of one stage; those of the dense network where one-shot skipped the stage before."""
    return [
        {"images": result["images"], "wrong": result["wrong"].get(stage, result["wrong"]["dense"])}
        for result in results
    ]


def by_method(results: Results) -> dict[str, Results]:
    """The results of each method that was run."""
    found = {method: [result for result in results if result["method"] == method] for method in METHODS}
    return {method: of_it for method, of_it in found.items() if of_it}


def accuracy(result: Mapping[str, Any], stage: str) -> float:
    """Accuracy in percent at one stage."""
    return 100 * (1 - len(result["wrong"][stage]) / result["images"])


def accuracy_rows(pools: Mapping[str, Results]) -> list[Row]:
    """Mean accuracy of every method at every stage."""
    rows: list[Mapping[str, Any]] = []
    for pool, results in pools.items():
        for method, found in by_method(results).items():
            row: dict[str, Any] = {"": pool, "method": method, "MACs, %": _range([100 * r["MACs"] for r in found])}
            for stage in STAGES:
                has = stage in found[0]["wrong"]
                row[stage] = _range([accuracy(result, stage) for result in found]) if has else None
            rows.append(row)
    return rows


def cost_rows(pools: Mapping[str, Results]) -> list[Row]:
    """What projection and removal cost, image by image, and what the whole compression does."""
    rows: list[Mapping[str, Any]] = []
    for pool, results in pools.items():
        for method, found in by_method(results).items():
            lost, gained, points, low, high = difference(at(found, "trained"), at(found, "removed"))
            each = [difference(at([r], "trained"), at([r], "removed"))[2] for r in found]
            _, _, overall, least, most = difference(at(found, "dense"), at(found, "recovered"))
            rows.append(
                {
                    "": pool,
                    "method": method,
                    "runs x images": f"{len(found)} x {found[0]['images']}",
                    "right to wrong": lost,
                    "wrong to right": gained,
                    "points lost [95 %]": f"{points:.2f} [{low:.2f}, {high:.2f}]",
                    "worst run": f"{max(each):.2f}",
                    "gap": f"{max(r['gap'] for r in found):.1e}",
                    "removal, float64": f"{max(r['removal float64'] for r in found):.0e}",
                    "dense to recovered, points lost [95 %]": f"{overall:.2f} [{least:.2f}, {most:.2f}]",
                    "seconds": f"{sum(r['seconds'] for r in found) / len(found):.0f}",
                }
            )
    return rows


def scaling_rows(results: Results) -> list[Row]:
    """What random scales of the filters change, one row a saliency."""
    return [
        {
            "filters scaled": result["scaled"],
            "saliency": result["saliency"],
            "outputs moved by, of their scale": result["moved"],
            "channels kept": result["kept"],
            "of them replaced": _range(result["replaced"]),
            "accuracy projected, new statistics, %": result["accuracy"],
            "the same, filters scaled": _range(result["accuracies"]),
        }
        for result in results
    ]


def _range(values: Sequence[float]) -> str:
    mean = f"{sum(values) / len(values):.2f}"
    return mean if min(values) == max(values) else f"{mean} [{min(values):.2f}, {max(values):.2f}]"


def beta_rows(results: Results) -> list[Row]:
    """One row a pull and beta, one group of columns an optimiser."""
    rows: list[Mapping[str, Any]] = []
    for pull in any_beta.PULLS:
        for beta in dict.fromkeys(result["beta"] for result in results if result["pull"] == pull):
            row: dict[str, Any] = {"pull": pull, "beta": beta}
            for result in results:
                if (result["pull"], result["beta"]) == (pull, beta):
                    row[result["optimizer"]] = _outcome(result)
            rows.append(row)
    return rows


def _outcome(result: Mapping[str, Any]) -> str:
    if not result["finite"]:
        return f"NaN at step {result['steps']}"
    gap = "" if result["gap"] is None else f", gap {result['gap']:.0e}"
    return f"{result['loss']:.2g}{gap}, {result['accuracy']:.1f} %"


def chart(pools: Mapping[str, Results], scaling: Results, betas: Mapping[str, Results]) -> Figure:
    """Accuracy from stage to stage for every pool, what scales change, the final loss over beta for every network."""
    panels = len(pools) + bool(scaling) + len(betas)
    columns = min(panels, COLUMNS)
    rows = -(-panels // columns)
    figure = Figure(figsize=(5 * columns, 4 * rows), layout="constrained")
    axes = list(figure.subplots(rows, columns, squeeze=False).flat)
    for unused in axes[panels:]:
        unused.remove()
    for name, results in pools.items():
        _draw_stages(axes.pop(0), name, results)
    if scaling:
        _draw_scaling(axes.pop(0), scaling)
    for name, results in betas.items():
        _draw_betas(axes.pop(0), name, results)
    return figure


def _draw_stages(axes: Axes, name: str, results: Results) -> None:
    stages = [stage for stage in STAGES if stage != "statistics"]
    for method, found in by_method(results).items():
        number = list(METHODS).index(method)
        has = [place for place, stage in enumerate(stages) if stage in found[0]["wrong"]]
        each = [[accuracy(result, stages[place]) for result in found] for place in has]
        means = [sum(values) / len(values) for values in each]
        style = "--" if METHODS[method].one_shot else "-"
        axes.plot(has, means, style, color=f"C{number}", marker="o", markersize=4, label=method)
        axes.fill_between(has, [min(v) for v in each], [max(v) for v in each], color=f"C{number}", alpha=0.15)
    axes.set(title=name, ylabel="test accuracy, %", xticks=range(len(stages)), xticklabels=stages)
    axes.legend(fontsize=7)


def _draw_scaling(axes: Axes, results: Results) -> None:
    for number, result in enumerate(results):
        label = f"{result['saliency']}, scaled: {result['scaled']}"
        axes.plot(result["replaced"], result["accuracies"], ".", color=f"C{number}", label=label)
        axes.plot(0, result["accuracy"], "D", color=f"C{number}", markerfacecolor="none")
    axes.set(title="one-shot, filters in front of BatchNorm scaled", ylabel="test accuracy, new statistics, %")
    axes.set_xlabel(f"channels replaced, of {results[0]['kept']} to {results[-1]['kept']} (diamonds: as trained)")
    axes.legend(fontsize=7)


def _draw_betas(axes: Axes, name: str, results: Results) -> None:
    for number, optimizer in enumerate(any_beta.OPTIMIZERS):
        for pull, style in (("implicit, U", "-"), ("gradient, U", ":")):
            found = [r for r in results if (r["optimizer"], r["pull"]) == (optimizer, pull) and "to" not in r["beta"]]
            alive = [(float(r["beta"]), r["loss"]) for r in found if r["finite"]]
            label = f"{optimizer}, {pull.split(',')[0]}"
            axes.plot(*zip(*alive, strict=True), style, color=f"C{number}", marker="o", markersize=4, label=label)
            dead = [float(r["beta"]) * 1.2**number for r in found if not r["finite"]]
            # On the upper edge, whatever the losses are; side by side where several died.
            axes.plot(dead, [0.97] * len(dead), "x", color=f"C{number}", transform=axes.get_xaxis_transform())
    axes.set(title=f"{name}, pulled to U, learning rate {any_beta.LR:g}", xscale="log", yscale="log")
    axes.set(xlabel="beta (x: not a number)", ylabel="final training loss")
    axes.legend(fontsize=7)
