"""What each penalty on single weights does beside a target for channels, and what a target of zeros costs.

Fine-tunes an embedded network to half of its MACs with every penalty at its default strength and with targets
of zeros, removes the channels, recovers for two epochs, and prints for each, over several seeds: channels removed that
no penalty would have kept, or the other way round; channels that the penalty emptied; zeros among the remaining
weights; the compressed size of the removed network; test accuracy when the gap is closed and after recovery.

    python benchmarks/penalty_table.py --seeds 3 --json penalties.json
"""

from __future__ import annotations

import argparse
import gzip
import json
import statistics
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from compressor import fine_tune, load, recover, save
from compressor.data import load_data
from compressor.files import write_text
from compressor.groups import find_groups, is_zero
from compressor.penalties import PENALTIES
from compressor.shrinking import remove_zero_channels
from compressor.splitting import SplittingConfig
from compressor.training.recipe import Recipe

EPOCHS, RECOVERY = 6, 2


def rows(asked: list[str], zeros: list[float], strengths: list[float]) -> Iterator[tuple[str, dict[str, Any]]]:
    """A name and the options of every row."""
    yield "none", {}
    for name in asked:
        for strength in strengths or [None]:
            label = name if strength is None else f"{name}, strength {strength:g}"
            yield label, {"penalty": name, "strength": strength}
    for share in zeros:
        yield f"--target-zeros {share:g}", {"target_zeros": share}


class Bench:
    """The network, the data and the groups, found once."""

    def __init__(self, name: str, macs: float) -> None:
        self.network, self.macs = load(name), macs
        self.data = load_data("digits", tuple(self.network.metadata.input_shape))  # type: ignore[arg-type]
        self.groups = [g for g in find_groups(self.network.model, self.network.example_input()) if g.prunable]

    def measure(self, options: dict[str, Any], seed: int) -> dict[str, Any]:
        """One training, removal and recovery."""
        config = SplittingConfig(target_macs=self.macs, **options)
        tuned = fine_tune(self.network, self.data, Recipe(epochs=EPOCHS, seed=seed), config, groups=self.groups)
        model, projection = tuned.network.model, tuned.record.projection
        assert projection is not None
        gone = {f"{g.name}:{c}" for g in self.groups for c in is_zero(model, g).nonzero().flatten().tolist()}
        shrunk = remove_zero_channels(model, self.network.example_input(), groups=self.groups)
        small = tuned.network.with_model(shrunk.model)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "small.safetensors"
            save(small, path)
            size = len(gzip.compress(path.read_bytes(), 6))
        recovered = recover(small, self.data, Recipe(epochs=RECOVERY, seed=seed), teacher=self.network.model)
        return {
            "gone": gone, "died": projection.died, "zeros": projection.zeros, "gzip_bytes": size, "gap": projection.gap,
            "macs": projection.reached, "closed": 100 * tuned.record.trained.value,
            "recovered": 100 * recovered.record.final.value,
        }  # fmt: skip


def text(values: list[float], form: str) -> str:
    """Mean and, over several seeds, the range."""
    shown = form.format(statistics.mean(values))
    return shown if len(values) < 2 else f"{shown} ({form.format(min(values))}-{form.format(max(values))})"


def main() -> None:
    """Print the table as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", default="digits_resnet")
    parser.add_argument("--penalties", nargs="*", default=sorted(PENALTIES))
    parser.add_argument("--strengths", nargs="*", type=float, default=[])
    parser.add_argument("--zeros", nargs="*", type=float, default=[0.5, 0.8, 0.9])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--macs", type=float, default=0.5)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    bench, found, without = Bench(args.network, args.macs), [], {}
    print("| penalty | channels other than none's | emptied | zeros | gzip | closed | recovered |")
    print("|---|---|---|---|---|---|---|")
    for label, options in rows(args.penalties, args.zeros, args.strengths):
        each = [bench.measure(options, seed) for seed in range(args.seeds)]
        for seed, one in enumerate(each):
            without.setdefault(seed, one["gone"])
            one["other"] = len(one["gone"] ^ without[seed])
        print(
            f"| {label} | {text([e['other'] for e in each], '{:.0f}')} | {text([e['died'] for e in each], '{:.0f}')} "
            f"| {text([100 * e['zeros'] for e in each], '{:.1f} %')} "
            f"| {text([e['gzip_bytes'] / 1000 for e in each], '{:.0f} kB')} "
            f"| {text([e['closed'] for e in each], '{:.1f}')} | {text([e['recovered'] for e in each], '{:.1f}')} |",
            flush=True,
        )
        found.append({"label": label, "seeds": [{**one, "gone": sorted(one["gone"])} for one in each]})
        if args.json is not None:
            write_text(args.json, json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
