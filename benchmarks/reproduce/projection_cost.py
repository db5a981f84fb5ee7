"""What projection and removal cost at half the MACs, beside one-shot and plain norms; and that no beta diverges.

    resnet   ResNet-20 on digits: the embedded network with 3 seeds, and 5 splits, each with its own dense network
    lenet    LeNet-5 on MNIST, 3 seeds, each with its own dense network
    scaling  random scales of filters in front of BatchNorm: which channels each saliency keeps
    beta     beta from 1e-3 to 1e4 with SGD, Nesterov SGD and AdamW at learning rate 0.1

    python benchmarks/reproduce/projection_cost.py --mnist DIR --workers 2

A finished training is kept under --out and not repeated.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import any_beta
from compressing import METHODS, Case, Dense, Job, accuracy_with_new_statistics, compress, train_dense
from plain_norms import rescaling
from projection_tables import Results, accuracy_rows, beta_rows, chart, cost_rows, scaling_rows
from results import Reproduction, Row, command_line, positive, publish
from trainings import finished

from compressor.training.recipe import Recipe

TARGET = 0.5
SPLITS, DRAWS = 5, 10
BETA_NETWORKS = {"digits_lenet": 32, "digits_resnet": 8}  # with their batch


def resnet(seeds: int, mnist: str | None) -> tuple[Case, dict[str, tuple[tuple[int, int], ...]]]:
    """ResNet-20 on digits and its pools of (split, seed)."""
    repeated = tuple((0, seed) for seed in range(seeds))
    splits = tuple((split, 0) for split in range(SPLITS))
    case = Case(
        arch="resnet20",
        arch_args={"in_channels": 1},
        data="digits",
        embedded="digits_resnet",
        dense=Recipe(epochs=30, lr=0.05),
        epochs=6,
    )
    pools = {f"ResNet-20, digits, embedded, {seeds} seeds": repeated, f"ResNet-20, digits, {SPLITS} splits": splits}
    return case, pools


def lenet(seeds: int, mnist: str | None) -> tuple[Case, dict[str, tuple[tuple[int, int], ...]]]:
    """LeNet-5 on MNIST and its pool; the split of the test images is MNIST's own."""
    dense = Recipe(epochs=3, lr=0.05, batch_size=100)
    # No BatchNorm: filter norms are no worse than others here, and are left out.
    methods = tuple(name for name, method in METHODS.items() if method.saliency == "ours")
    case = Case(arch="lenet5", data=f"mnist:{mnist}", dense=dense, epochs=2, methods=methods)
    return case, {f"LeNet-5, MNIST, {seeds} seeds": tuple((0, seed) for seed in range(seeds))}


NETWORKS = {"resnet": resnet, "lenet": lenet}
PARTS = (*NETWORKS, "scaling", "beta")


def compressions(
    case: Case, pools: Mapping[str, Sequence[tuple[int, int]]], folder: Path, workers: int
) -> dict[str, Results]:
    """Train what is dense, compress it by every method, and sort the results into the pools."""
    runs = list(dict.fromkeys(run for pool in pools.values() for run in pool))
    # The embedded network is one for all seeds; elsewhere every seed starts from its own.
    networks = {(split, seed): Dense(case=case, split=split, seed=seed, folder=folder) for split, seed in runs}
    finished(train_dense, [dense for dense in networks.values() if not dense.given], folder, workers)
    jobs = [
        Job(dense=networks[run], method=method, seed=run[1], target=TARGET)
        for method in case.methods
        for run in runs
        if run[1] == 0 or not (networks[run].given and METHODS[method].control)
    ]
    found = finished(compress, jobs, folder, workers)
    return {
        name: [result for result in found if (result["split"], result["seed"]) in pool] for name, pool in pools.items()
    }


def main() -> None:
    """Run the parts asked for and publish their tables."""
    parser = command_line("projection_cost", __doc__, seeds=3)
    parser.add_argument("--what", nargs="+", choices=PARTS, default=PARTS, help="default: all")
    parser.add_argument("--mnist", help="folder with the four idx files, for lenet")
    parser.add_argument("--steps", type=positive, default=200, help="of each training in beta (default 200)")
    parser.add_argument("--workers", type=positive, default=2, help="trainings side by side, one thread each")
    options = parser.parse_args()
    if "lenet" in options.what and options.mnist is None:
        parser.error("lenet needs --mnist, the folder with the four idx files; or leave it out with --what")
    began, folder, workers = time.monotonic(), options.out / "trainings", options.workers
    pools: dict[str, Results] = {}
    scaling: Results = []
    betas: dict[str, Results] = {}
    tables: dict[str, Sequence[Row]] = {}
    for name in [name for name in NETWORKS if name in options.what]:
        pools |= compressions(*NETWORKS[name](options.seeds, options.mnist), folder, workers)
    if pools:
        tables["Test accuracy, %, mean [lowest, highest run]"] = accuracy_rows(pools)
        tables["From the end of sparse training (one-shot: from dense) to the removed network"] = cost_rows(pools)
    if "scaling" in options.what:
        dense = Dense(case=resnet(1, None)[0], split=0, seed=0, folder=folder)
        scaling = rescaling(
            dense.load(), TARGET, DRAWS, partial(accuracy_with_new_statistics, dense.read(dense.load()))
        )
        tables[f"Filters in front of BatchNorm scaled at random, {DRAWS} times"] = scaling_rows(scaling)
    for name, batch in BETA_NETWORKS.items() if "beta" in options.what else ():
        betas[name] = finished(any_beta.train, any_beta.sweep(name, batch, options.steps), folder, workers)
        tables[f"{name}, {options.steps} steps at learning rate 0.1: loss, gap, accuracy"] = beta_rows(betas[name])
    settings = {"what": list(options.what), "target macs": TARGET, "seeds": options.seeds, "steps": options.steps}
    result = Reproduction(name="projection_cost", settings=settings, tables=tables, wall_s=time.monotonic() - began)
    publish(result, chart(pools, scaling, betas), options.out)


if __name__ == "__main__":
    main()
