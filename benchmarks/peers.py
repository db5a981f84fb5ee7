"""Ours, the methods of Torch-Pruning and HESSO, from the same checkpoint with the same training: who is more accurate?

    python benchmarks/peers.py add RESULTS NAME CHECKPOINT DATA [--held PATTERN ...] [--max-train N] ...
    python benchmarks/peers.py run RESULTS [--networks ...] [--methods ...] [--targets ...] [--seeds ...]
    python benchmarks/peers.py time RESULTS
    python benchmarks/peers.py pack RESULTS docs/peers
    python benchmarks/peers.py table RESULTS|docs/peers [--into docs/quality.md]

Every network, method, setting, target and seed is a cell, in a file of its own. One that exists is not run again, here
or in --known, so that a run can be stopped at any time; --again runs it anew. The networks are timed beside the dense
one, all of a network together.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Iterator
from pathlib import Path

import peer_hesso
import peer_ours
import peer_rivals
from msgspec.structs import replace
from peer_cells import (
    Cell,
    Cells,
    Key,
    Latency,
    Subject,
    best_setting,
    read_cells,
    read_subjects,
    write_cell,
    write_packs,
    write_subjects,
)
from peer_table import document
from peer_training import Bench

from compressor.benchmarking import benchmark
from compressor.errors import CompressorError, UsageError
from compressor.files import write_text
from compressor.stages.export import export

KNOWN = Path(__file__).parent.parent / "docs" / "peers"
METHODS = [*peer_ours.OURS, *peer_rivals.RIVALS, "hesso"]
# Seconds of timing for each network, besides the two session pairs that each gets at least.
TIMING = 8.0
BEGIN, END = "<!-- tables of the rivals -->", "<!-- end -->"


def settings(method: str, which: str, network: str, cells: Cells) -> list[str]:
    """The names of the settings of a method that are to be run."""
    if method not in peer_rivals.RIVALS:
        return [peer_ours.SETTING]
    every = [*peer_rivals.RIVALS[method].settings]
    if which == "best":
        return [best_setting(cells.values(), network, method) or every[0]]
    return every if which == "all" else every[:1]


def wanted(args: argparse.Namespace, networks: list[str], cells: Cells) -> Iterator[Key]:
    """What is to be run, in its order; cells that are known already too."""
    for network in networks:
        for seed in args.seeds:
            for target in args.targets:
                for method in args.methods:
                    for setting in settings(method, args.settings, network, cells):
                        yield Key(network=network, method=method, setting=setting, target=target, seed=seed)


def named(args: argparse.Namespace) -> dict[str, Subject]:
    """The networks that are asked for, all by default; `UsageError` for one that was not added."""
    subjects = read_subjects(args.results)
    for name in args.networks or ():
        if name not in subjects:
            raise UsageError(f"{name} was not added to {args.results}; there are {', '.join(subjects) or 'none'}")
    return {name: subjects[name] for name in args.networks or subjects}


def run(args: argparse.Namespace) -> None:
    """Run what is not there yet."""
    benches = {name: Bench(name, subject) for name, subject in named(args).items()}
    known = read_cells(args.known, args.results)
    for key in wanted(args, [*benches], known):
        if key in known and not args.again:
            continue
        try:
            cell = run_cell(key, benches[key.network], args.results, again=args.again)
        except CompressorError as error:
            print(f"{describe(key)}: {error}", flush=True)
            continue
        known[key] = cell
        final, kept, seconds = cell.accuracy.final, cell.kept, cell.seconds.processor
        print(f"{describe(key)}: {final:.2%} with {kept:.1%} of the MACs, {seconds:.0f} s", flush=True)


def run_cell(key: Key, bench: Bench, results: Path, *, again: bool) -> Cell:
    """Run a cell and write it."""
    key.path(results, "").parent.mkdir(parents=True, exist_ok=True)
    if key.method in peer_ours.OURS:
        cell = peer_ours.run(key, bench, results, again=again)
    else:
        cell = (peer_hesso if key.method == "hesso" else peer_rivals).run(key, bench, results)
    write_cell(results, cell)
    return cell


def describe(key: Key) -> str:
    """The cell in words."""
    return f"{key.network}, {key.method} ({key.setting}), {key.target:g}x, seed {key.seed}"


def time_networks(args: argparse.Namespace) -> None:
    """Time the networks of all cells beside the dense ones, those that were timed already only with --again."""
    subjects = named(args)
    for name, subject in subjects.items():
        cells = [cell for key, cell in read_cells(args.results).items() if key.network == name]
        due = [cell for cell in cells if args.again or cell.latency is None]
        if not due:
            continue
        bench, dense = Bench(name, subject), args.results / name / "dense.onnx"
        if not dense.exists():
            export(bench.dense, dense, bench.data)
        files = [dense, *(cell.key.path(args.results, ".onnx") for cell in due)]
        names = ["dense", *(describe(cell.key) for cell in due)]
        timed = benchmark(files, names=names, max_seconds=TIMING * len(files), details=False)
        for cell, found in zip(due, timed.comparisons, strict=True):
            low, high = found.ci95
            latency = Latency(ratio=round(found.ratio, 4), ci95=(round(low, 4), round(high, 4)))
            write_cell(args.results, replace(cell, latency=latency))
            print(f"{describe(cell.key)}: {found.ratio:.3f} [{low:.3f}–{high:.3f}]", flush=True)


def add(args: argparse.Namespace) -> None:
    """Name a network, so that it can be run."""
    fields = {name: getattr(args, name) for name in Subject.__struct_fields__}
    subject = Subject(**{**fields, "held": tuple(args.held)})
    write_subjects(args.results, {**read_subjects(args.results), args.name: subject})


def pack(args: argparse.Namespace) -> None:
    """Write all cells compactly, beside those that are there."""
    write_packs(args.folder, read_cells(args.folder, args.results).values())


def table(args: argparse.Namespace) -> None:
    """Print the tables, or put them into a page, between its markers."""
    text = document(read_cells(args.results).values())
    if args.into is None:
        print(text)
        return
    before, begin, rest = args.into.read_text().partition(BEGIN)
    _, end, after = rest.partition(END)
    if not end:
        raise UsageError(f"{args.into} lacks the lines {BEGIN} and {END}, between which the tables belong")
    write_text(args.into, f"{before}{begin}\n\n{text}\n{end}{after}")


def parser() -> argparse.ArgumentParser:
    """The command line."""
    whole = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = whole.add_subparsers(required=True)
    each = {name: commands.add_parser(name, help=work.__doc__) for name, work in COMMANDS.items()}
    for name, command in each.items():
        command.add_argument("results", type=Path)
        command.set_defaults(work=COMMANDS[name])
    for name in ("name", "checkpoint", "data"):
        each["add"].add_argument(name)
    each["add"].add_argument("--held", nargs="*", default=[], help="the layers that Torch-Pruning prunes rightly")
    for name, kind in (("max_train", int), ("epochs", int), ("batch_size", int), ("lr", float), ("precision", str)):
        default = getattr(Subject(checkpoint="", data=""), name)
        each["add"].add_argument(f"--{name.replace('_', '-')}", type=kind, default=default)
    running = each["run"]
    running.add_argument("--methods", nargs="*", default=METHODS, choices=METHODS)
    running.add_argument("--targets", nargs="*", type=float, default=[2.0, 3.0, 5.0])
    running.add_argument("--seeds", nargs="*", type=int, default=[0])
    running.add_argument("--settings", default="first", choices=["first", "all", "best"])
    running.add_argument("--known", type=Path, default=KNOWN, help="a folder with cells that need not be run")
    for name in ("run", "time"):
        each[name].add_argument("--networks", nargs="*")
        each[name].add_argument("--again", action="store_true")
    each["pack"].add_argument("folder", type=Path)
    each["table"].add_argument("--into", type=Path, metavar="PAGE")
    return whole


COMMANDS = {"add": add, "run": run, "time": time_networks, "pack": pack, "table": table}


def main() -> None:
    """Do what is asked."""
    warnings.simplefilter("ignore")  # the libraries' own
    args = parser().parse_args()
    args.work(args)


if __name__ == "__main__":
    main()
