"""A user's loop under FSDP2, by itself: `python on_shards.py RANKS FOLDER` leaves what each rank ended with."""

from __future__ import annotations

import os
import sys
import warnings
import weakref
from functools import partial

import torch
from on_ranks import BATCH, IMAGE, batch
from torch import distributed, nn
from torch.distributed import checkpoint
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    get_state_dict,
    set_state_dict,
)
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FullyShardedDataParallel, fully_shard
from torch.distributed.tensor import Shard
from torch.distributed.tensor.debug import CommDebugMode
from torch.nn import functional as F

import compressor
from compressor.errors import UsageError
from compressor.groups import find_groups
from compressor.penalties import PENALTIES, penalty
from compressor.saliency import SALIENCIES, saliency
from compressor.shards import like, local, whole
from compressor.splitting import SplittingConfig, build_splitting
from compressor.splitting.auxiliary import AuxiliaryVariables, in_units, units_of
from compressor.splitting.zero_target import smallest, threshold_of_share
from compressor.training.batchnorm import reestimate

STEPS, HALF, LOOK = 12, 8, 4
LENGTHS = {"total_steps": STEPS, "epoch_steps": 4, "samples": 10 * BATCH}
CONFIGS = {
    "taylor": {"target_macs": 0.5},
    "fisher": {"target_macs": 0.5, "saliency": "fisher"},
    "weights": {"target_macs": 0.4, "saliency": "weights", "align": 1},
    "zeros": {"target_macs": 0.6, "target_zeros": 0.5, "penalty": "l1"},
    "zeros alone": {"target_zeros": 0.7, "penalty": "l0"},
    "both": {"penalty": "l1-l2", "target_macs": 0.5},
    "frozen": {"target_macs": 0.7, "penalty": "l1"},
}
OF_NORMS = {name: CONFIGS[name] for name in ("taylor", "zeros")}
# Those that are put in shards at once, not block by block; those that are trained by AdamW, not SGD with momentum.
AT_ONCE = ("both", "frozen")
BY_ADAM = ("weights", "zeros", "both")


class Shared(nn.Module):
    """Channels that divide by no number of ranks, and one weight in two places."""

    def __init__(self, *, norms):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 10, 3, padding=1), *[nn.BatchNorm2d(10)] * norms, nn.ReLU())
        self.body = nn.Sequential(nn.Conv2d(10, 7, 3, padding=1), *[nn.BatchNorm2d(7)] * norms, nn.ReLU())
        self.transposed = nn.ConvTranspose2d(7, 5, 2)
        self.first, self.second = nn.Linear(20, 20), nn.Linear(20, 20)
        self.second.weight = self.first.weight
        self.head = nn.Linear(20, 3)

    def forward(self, x):
        x = F.relu(self.transposed(self.body(self.stem(x))))
        x = F.adaptive_avg_pool2d(x, 2).flatten(1)
        return self.head(F.relu(self.second(F.relu(self.first(x)))))


def network(*, norms=False, frozen=False):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = Shared(norms=norms).double()
    for parameter in model.stem.parameters():
        parameter.requires_grad_(not frozen)
    return model


def shard(model, mesh=None, *, nested=True):
    for part in (model.stem, model.body) if nested else ():
        fully_shard(part, mesh=mesh)
    fully_shard(model, mesh=mesh)


def train(model, optimizer, rank, ranks, first=0, last=STEPS):
    for step in range(first, last):
        images, labels = batch(step, rank, ranks)
        optimizer.zero_grad()
        F.cross_entropy(model(images), labels % 3).backward()
        optimizer.step()


def started(name, rank=0, ranks=1, *, norms=False, mesh=None, tries=0, attach=True):
    """Network, optimiser and splitting; in shards where there are several ranks."""
    model = network(norms=norms, frozen=name == "frozen")
    options = CONFIGS[name]
    splitting = build_splitting(model, IMAGE, SplittingConfig(**options), **LENGTHS, seed=0)
    if name == "fisher":
        images, labels = batch(0, rank, ranks)
        splitting.calibrate(
            F.cross_entropy(model(images[i : i + 1]), labels[i : i + 1] % 3) for i in range(len(images))
        )
    if tries:
        splitting.settle(lambda dropped: float(sum(gone[0] for gone in dropped)), tries)
    if ranks > 1:
        shard(model, mesh, nested=name not in AT_ONCE)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    by_adam = name in BY_ADAM
    optimizer = torch.optim.AdamW(trained, lr=0.01) if by_adam else torch.optim.SGD(trained, lr=0.05, momentum=0.9)
    model(IMAGE)  # an evaluation leaves whole parameters in modules that fully_shard has sharded
    if attach:
        splitting.attach(optimizer)
    return model, optimizer, splitting


def ended(name, rank=0, ranks=1, **options):
    """What a training ended with, and what was seen on the way; on rank 0 also the network, whole."""
    model, optimizer, splitting = started(name, rank, ranks, **options)
    train(model, optimizer, rank, ranks, last=LOOK)
    with torch.no_grad():
        with splitting.zeroed():
            projected = model(IMAGE)
        outputs = projected, model(IMAGE)
        seen = {"gap": splitting.gap(), "zeros": splitting.sparsity(), "outputs": outputs}
    train(model, optimizer, rank, ranks, LOOK)
    state = splitting.state_dict()
    return finished(model, splitting, rank) | {"seen": seen, "state": state}


def finished(model, splitting, rank):
    projection = splitting.project()
    options = StateDictOptions(full_state_dict=True, cpu_offload=True)
    found = {"projection": projection, "weights": get_model_state_dict(model, options=options), "left": splitting.gap()}
    if rank == 0:
        unsharded = network(norms=hasattr(model.stem[1], "running_mean"))
        unsharded.load_state_dict(found["weights"])
        small = compressor.shrink(unsharded, IMAGE)
        found["small"] = [parameter.shape for parameter in small.parameters()]
    return found


def averaged(rank=0, ranks=1):
    """The projection of a copy that lags behind."""
    model, optimizer, splitting = started("zeros", rank, ranks)
    average = network()
    if ranks > 1:
        shard(average)
    train(model, optimizer, rank, ranks)
    with torch.no_grad():
        average(IMAGE)
    gap = splitting.project(model=average).gap
    return {"gap": gap, "weights": get_model_state_dict(average, options=StateDictOptions(full_state_dict=True))}


def parts(model, optimizer, splitting):
    weights, of_optimizer = get_state_dict(model, optimizer)
    return {"model": weights, "optimizer": of_optimizer, "splitting": splitting}


def saved(rank, ranks, folder):
    """Half a training, and all of it."""
    model, optimizer, splitting = started("zeros", rank, ranks, tries=6)
    train(model, optimizer, rank, ranks, last=HALF)
    checkpoint.save(parts(model, optimizer, splitting), checkpoint_id=f"{folder}/half")
    train(model, optimizer, rank, ranks, HALF)
    return finished(model, splitting, rank)["weights"]


def resumed(rank, ranks, folder, *, attached):
    """The other half, in another process, of a splitting that is attached before its state is loaded, or after that."""
    model, optimizer, splitting = started("zeros", rank, ranks, attach=attached)
    held = parts(model, optimizer, splitting)
    checkpoint.load(held, checkpoint_id=f"{folder}/half")
    set_state_dict(model, optimizer, model_state_dict=held["model"], optim_state_dict=held["optimizer"])
    if not attached:
        splitting.attach(optimizer)
    train(model, optimizer, rank, ranks, HALF)
    return finished(model, splitting, rank)["weights"]


def told(act):
    """What is said of that."""
    try:
        act()
    except UsageError as error:
        return str(error)
    return None


def attached(options, wrap):
    model = network(norms=True)
    splitting = build_splitting(model, IMAGE, SplittingConfig(**options), **LENGTHS)
    outer = wrap(model) or model
    splitting.attach(torch.optim.SGD(outer.parameters(), lr=0.05))
    return splitting


def refusals(rank, ranks):
    budget = {"target_macs": 0.5}
    sharded = network()
    shard(sharded)
    half = init_device_mesh("cpu", (ranks,)), init_device_mesh("cpu", (ranks,), mesh_dim_names=("other",))

    def on_two_meshes(model):
        fully_shard(model.stem, mesh=half[0])
        fully_shard(model, mesh=half[1])

    def renamed(model):
        model.stem = nn.Sequential(model.stem)
        shard(model)

    def one_loads():
        model, optimizer, splitting = started("zeros", rank, ranks)
        splitting.step = 5 * (rank == 0)
        train(model, optimizer, rank, ranks, last=1)

    return {
        "of shards": told(lambda: compressor.Splitting(sharded, IMAGE, **budget, total_steps=STEPS)),
        "shrink": told(lambda: compressor.shrink(sharded, IMAGE)),
        "save": told(lambda: compressor.save(sharded, "sharded.pt", arch=f"{__file__}:network")),
        "export": told(lambda: compressor.export_onnx(sharded, IMAGE, "sharded.onnx")),
        "paper": told(lambda: attached({"method": "paper", "penalty": "l1"}, shard)),
        "rvsm": told(lambda: attached({"method": "rvsm"}, shard)),
        "slimming": told(lambda: attached({"method": "slimming", "strength": 1.0, "beta": (2.0, 2.0)}, shard)),
        "first": told(lambda: attached(budget, lambda m: FullyShardedDataParallel(m, device_id=torch.device("cpu")))),
        "first with views": told(
            lambda: attached(
                budget, lambda m: FullyShardedDataParallel(m, device_id=torch.device("cpu"), use_orig_params=True)
            )
        ),
        "a part": told(lambda: attached(budget, lambda m: fully_shard(m.stem) and None)),
        "columns": told(
            lambda: attached(
                budget, lambda m: fully_shard(m, shard_placement_fn=lambda p: Shard(p.ndim - 1 if p.ndim == 2 else 0))
            )
        ),
        "meshes": told(lambda: attached(budget, on_two_meshes)),
        "renamed": told(lambda: attached(budget, renamed)),
        "calibrate": told(lambda: attached(budget, shard).calibrate([])),
        "settle": told(lambda: attached(budget, shard).settle(lambda dropped: 0.0, 1)),
        "another form": told(lambda: attached(budget, shard).project(network(norms=True))),
        "one loads": told(one_loads),
    }


def pulled(rank, ranks):
    """The weights after a pull towards V of every penalty, with and without shards."""
    found = {}
    for name, args in [*((name, {}) for name in PENALTIES), ("l1-l2", {"over": "channel"})]:
        each = []
        for wrap in (shard, lambda model: None):
            model = network()
            units = units_of(list(model.parameters()))
            wrap(model)
            weights = list(model.parameters())
            prox = partial(in_units, penalty(name, **args), dict(zip(weights, units, strict=True)))
            with torch.no_grad():
                AuxiliaryVariables(weights, prox).pull(0.5, 0.2)
                each.append([whole(weight).clone() for weight in weights])
        found[f"{name} {args}"] = each
    return found


def chosen(rank, ranks):
    """The smallest of weights of which many are equal, with and without shards."""
    found = {}
    for share in (0.2, 0.5, 0.8):
        each = []
        for wrap in (shard, lambda model: None):
            model = network()
            with torch.no_grad():
                for parameter in model.parameters():
                    parameter.mul_(20).round_()
            wrap(model)
            weights = [parameter for parameter in model.parameters() if parameter.ndim > 1]
            masks = [torch.ones_like(local(weight), dtype=torch.bool) for weight in weights]
            units = dict.fromkeys(weights, 1.0)
            smaller = smallest(weights, masks, units, share)
            each.append(
                [threshold_of_share(weights, masks, units, share)]
                + [whole(like(mask, weight)) for mask, weight in zip(smaller, weights, strict=True)]
            )
        found[share] = each
    return found


def worth(rank, ranks):
    """What every saliency says of the channels, with and without shards, after the gradients of a batch."""
    plain, model = network(norms=True), network(norms=True)
    groups = [group for group in find_groups(plain, IMAGE) if group.prunable]
    shard(model)
    images, labels = batch(0, 0, 1)
    found = {}
    for name in SALIENCIES:
        # Channels of the transposed convolution and of the linear layers have no norm.
        known = groups if name != "bn-scale" else [g for g in groups if any(m.role == "norm" for m in g.members)]
        each = []
        for one in (model, plain):
            one.zero_grad()
            judge = saliency(name, one, known)
            F.cross_entropy(one(images), labels % 3).backward()
            judge.observe()
            each.append(judge.values())
        found[name] = each
    return found


def exchanged(rank, ranks):
    """How often ranks exchange something in a step in which nothing is chosen, and whether whole weights are kept."""
    found = {}
    for penalty_name in ("none", "l1", "l1-l2"):
        model = network()
        splitting = compressor.Splitting(model, IMAGE, target_macs=0.5, penalty=penalty_name, total_steps=1000)
        dense = [weakref.ref(parameter) for parameter in model.parameters()]
        shard(model)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
        splitting.attach(optimizer)
        train(model, optimizer, rank, ranks, last=1)
        images, labels = batch(1, rank, ranks)
        F.cross_entropy(model(images), labels % 3).backward()
        with CommDebugMode() as observing:
            splitting.before_step(optimizer)
        with CommDebugMode() as pulling, torch.no_grad():
            splitting.pull(0.001)
        found[penalty_name] = {
            "observing": observing.get_total_counts(),
            "pulling": pulling.get_total_counts(),
            "weights": len(splitting._weights),
            "kept": sum(one() is not None for one in dense),
        }
    return found


def statistics(rank, ranks):
    """BatchNorm's, of the batches of all ranks."""
    model, alone = network(norms=True), network(norms=True)
    shard(model, nested=False)
    with torch.no_grad():
        model(IMAGE)
    reestimate(model, (batch(step, rank, ranks)[0] for step in range(3)))
    reestimate(alone, (batch(step, each, ranks)[0] for step in range(3) for each in range(ranks)))
    return {"sharded": dict(model.named_buffers()), "alone": dict(alone.named_buffers())}


def first(rank, ranks, folder):
    found = {
        "plain": {name: ended(name, rank, ranks) for name in CONFIGS},
        "norms": {name: ended(name, rank, ranks, norms=True) for name in OF_NORMS},
        "saved": saved(rank, ranks, folder),
        "averaged": averaged(rank, ranks),
        "pulled": pulled(rank, ranks),
        "chosen": chosen(rank, ranks),
        "worth": worth(rank, ranks),
        "exchanged": exchanged(rank, ranks),
        "statistics": statistics(rank, ranks),
        "refusals": refusals(rank, ranks),
    }
    if ranks == 4:
        mesh = init_device_mesh("cpu", (2, 2), mesh_dim_names=("replicas", "shards"))
        found["replicas"] = {name: ended(name, rank, ranks, mesh=mesh) for name in ("taylor", "zeros", "both")}
    return found


def second(rank, ranks, folder):
    return {"resumed": [resumed(rank, ranks, folder, attached=attached) for attached in (True, False)]}


def on_rank(part, rank, ranks, folder):
    warnings.simplefilter("ignore")
    torch.manual_seed(rank)
    store = f"file://{folder}/store-{part.__name__}"
    distributed.init_process_group("gloo", init_method=store, rank=rank, world_size=ranks)
    torch.save(part(rank, ranks, folder), f"{folder}/{part.__name__}-{rank}.pt")
    distributed.destroy_process_group()


def main(ranks, folder):
    for part in (first, second):
        # Forked after the imports, which take longer than the training.
        children = []
        for rank in range(ranks):
            child = os.fork()
            if not child:
                on_rank(part, rank, ranks, folder)
                os._exit(0)
            children.append(child)
        if worst := max(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children):
            return worst
    return 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), sys.argv[2]))
