"""A user's loop on several processes, by itself: `python on_ranks.py RANKS FOLDER` leaves what each rank ended with."""

from __future__ import annotations

import os
import sys
import warnings
from pathlib import Path

import torch
from torch import distributed, nn
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel

import compressor
from compressor.errors import UsageError
from compressor.splitting import SplittingConfig, build_splitting
from compressor.training.batchnorm import reestimate

STEPS, BATCH = 12, 32
IMAGE = torch.zeros(2, 3, 8, 8, dtype=torch.float64)
LENGTHS = {"total_steps": STEPS, "epoch_steps": 4, "samples": 10 * BATCH}
CONFIGS = {
    "taylor": {"target_macs": 0.5},
    "weights": {"target_macs": 0.4, "saliency": "weights", "align": 1},
    "fisher": {"target_macs": 0.5, "saliency": "fisher"},
    "zeros": {"target_macs": 0.6, "target_zeros": 0.5},
    "l1": {"penalty": "l1"},
    "l0": {"penalty": "l0", "target_macs": 0.5},
    "l1-l2": {"penalty": "l1-l2"},
    "transformed-l1": {"penalty": "transformed-l1"},
    "paper": {"method": "paper", "penalty": "l1", "growth": (1.5, 1)},
    "rvsm": {"method": "rvsm", "strength": 1e-3},
    "rgsm": {"method": "rgsm", "strength": 0.2},
}
OF_NORMS = {"slimming": {"method": "slimming", "strength": 1.0, "beta": (2.0, 2.0)}}


def network(*, norms, seed=0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        layers = [
            nn.Conv2d(3, 16, 3, padding=1), *[nn.BatchNorm2d(16)] * norms, nn.ReLU(),
            nn.Conv2d(16, 16, 3, padding=1), *[nn.BatchNorm2d(16)] * norms, nn.ReLU(),
            nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(64, 4),
        ]  # fmt: skip
        return nn.Sequential(*layers).double()


def batch(step, rank, ranks):
    """This rank's share of a batch."""
    generator = torch.Generator().manual_seed(100 + step)
    images = torch.randn(BATCH, 3, 8, 8, generator=generator, dtype=torch.float64)
    labels = torch.randint(4, (BATCH,), generator=generator)
    return images[rank::ranks], labels[rank::ranks]


def train(model, optimizer, rank, ranks, steps=STEPS, *, uneven=False):
    """With ``uneven`` data every rank has others, and so other statistics."""
    for step in range(steps):
        images, labels = batch(step, rank, ranks)
        images[:, rank % 3] *= 1 + 4 * rank * uneven
        optimizer.zero_grad()
        F.cross_entropy(model(images), labels).backward()
        optimizer.step()


def ended(options, rank=0, ranks=1, *, norms=False, seed=0, steps=STEPS):
    """The trained and projected network and its projection; each rank starts with ``seed`` and tries its own data."""
    inner = network(norms=norms, seed=seed)
    splitting = build_splitting(inner, IMAGE, SplittingConfig(**options), **LENGTHS)
    model = inner if ranks == 1 else DistributedDataParallel(inner, broadcast_buffers=False)
    optimizer = torch.optim.SGD(inner.parameters(), lr=0.05, momentum=0.9)
    if options.get("saliency") == "fisher":
        images, labels = batch(0, rank, ranks)
        splitting.calibrate(F.cross_entropy(inner(images[i : i + 1]), labels[i : i + 1]) for i in range(len(labels)))
    splitting.attach(optimizer)
    train(model, optimizer, rank, ranks, steps, uneven=norms)
    return inner, splitting.project()


def outcome(*args, **kwargs):
    model, projection = ended(*args, **kwargs)
    return {"weights": dict(model.named_parameters()), "channels": projection.channels, "zeros": projection.zeros}


def tried(rank, ranks):
    """Before the training each rank finds something else best."""
    inner = network(norms=True)
    splitting = compressor.Splitting(DistributedDataParallel(inner), IMAGE, target_macs=0.5, total_steps=STEPS)
    wanted = torch.Generator().manual_seed(rank)
    splitting.settle(lambda dropped: float(torch.rand((), generator=wanted)), 6)
    optimizer = torch.optim.SGD(inner.parameters(), lr=0.05)
    splitting.attach(optimizer)
    train(DistributedDataParallel(inner), optimizer, rank, ranks)
    return {"weights": dict(inner.named_parameters()), "kept": splitting.kept}


def refused(rank, ranks, *, steps=STEPS, share=0.5, wrapped=True):
    """What is said of ranks that are not set up alike, or do not train one network."""
    inner = network(norms=False)
    splitting = compressor.Splitting(inner, IMAGE, target_macs=share, total_steps=steps)
    optimizer = torch.optim.SGD(inner.parameters(), lr=0.05)
    splitting.attach(optimizer)
    try:
        train(DistributedDataParallel(inner) if wrapped else inner, optimizer, rank, ranks)
    except UsageError as error:
        return str(error)
    return None


def apart(rank, ranks):
    """Two halves of the ranks train a network each, in process groups of their own."""
    size = ranks // 2
    groups = [distributed.new_group(list(range(start, start + size))) for start in (0, size)]
    half, inner = rank // size, network(norms=True, seed=rank // size)
    model = DistributedDataParallel(inner, process_group=groups[half])
    splitting = compressor.Splitting(model, IMAGE, target_macs=0.4, align=1, total_steps=STEPS)
    optimizer = torch.optim.SGD(inner.parameters(), lr=0.05)
    splitting.attach(optimizer)
    train(model, optimizer, rank % size, size)
    splitting.project()
    return {"half": half, "weights": dict(inner.named_parameters())}


def statistics(rank, ranks):
    """Of BatchNorm, from each rank's batches, in the wrapped network and the bare one."""
    inner = network(norms=True)
    found = {}
    for name, model in (("wrapped", DistributedDataParallel(inner)), ("bare", inner)):
        reestimate(model, (batch(step, rank, ranks)[0] for step in range(2 + rank)))
        found[name] = {key: buffer.clone() for key, buffer in inner.named_buffers()}
    return found


def on_rank(rank, ranks, folder):
    warnings.simplefilter("ignore")
    torch.manual_seed(rank)
    distributed.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=ranks)
    every = {name: CONFIGS[name] for name in ("taylor", "weights", "zeros", "l1-l2", "paper")} | OF_NORMS
    found = {
        "plain": {name: outcome(options, rank, ranks) for name, options in CONFIGS.items()},
        "norms": {name: outcome(options, rank, ranks, norms=True) for name, options in every.items()},
        "other starts": {
            name: outcome(every[name], rank, ranks, norms=True, seed=rank) for name in ("l1-l2", "slimming")
        },
        "stopped": outcome(CONFIGS["weights"], rank, ranks, norms=True, steps=5),
        "tried": tried(rank, ranks),
        "other length": refused(rank, ranks, steps=STEPS + rank),
        "other target": refused(rank, ranks, share=0.5 + 0.1 * (rank > 0)),
        "not one network": refused(rank, ranks, wrapped=False),
        "apart": apart(rank, ranks),
        "statistics": statistics(rank, ranks),
    }
    whole = {"arch": f"{__file__}:network", "arch_args": {"norms": False}, "input_shape": (3, 8, 8)}
    compressor.save(network(norms=False), Path(folder) / "all.pt", **whole, overwrite=True)
    torch.save(found, f"{folder}/{rank}.pt")
    distributed.destroy_process_group()


def main(ranks, folder):
    # Forked after the imports, which take longer than the training.
    children = []
    for rank in range(ranks):
        child = os.fork()
        if not child:
            on_rank(rank, ranks, folder)
            os._exit(0)
        children.append(child)
    return max(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), sys.argv[2]))
