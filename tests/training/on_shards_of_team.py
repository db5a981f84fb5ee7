"""Trainings in shards, by itself: `python on_shards_of_team.py RANKS FOLDER` leaves what each rank ended with."""

from __future__ import annotations

import copy
import sys
import warnings
from dataclasses import replace

import torch
from on_team import DATA, EXAMPLE, RECIPE, ended, forked, network
from torch.distributed import FileStore

from compressor.launcher import Place
from compressor.ranks import alone
from compressor.records import Metric
from compressor.records.costs import Aims
from compressor.shards import local
from compressor.splitting import SplittingConfig
from compressor.stages.jobs import splitting_for
from compressor.training import sharding, train
from compressor.training.loop import Loop
from compressor.training.states import Course, State
from compressor.training.team import join

TRAINED = ("penalty and budget", "zeros", "accumulated", "idle", "diverged", "recovered", "averaged")
PENALTIES = SplittingConfig(target_macs=0.5, target_zeros=0.3, penalty="l1")
OPTIONS = replace(RECIPE, ema=0.9, optimizer="adamw", lr=1e-3)


def kept(team=None, resumed=None):
    """A training with norms: what it ended with on the first rank, projected, and its state within the second epoch."""
    first, size = team is None or team.first, team.place.size if team is not None else 1
    model, found = network(norms=True), {}
    splitting = splitting_for(model, EXAMPLE, DATA, OPTIONS, PENALTIES, None, Aims(), processes=size)

    def keep_within(epochs, steps, run, *, now):
        if len(epochs) == 1 and steps == 2:
            found["state"] = copy.deepcopy((epochs, steps, run()))

    keep = {"keep_within": keep_within} if first else {}
    train(model, DATA, OPTIONS, normalization=None, splitting=splitting, team=team, resumed=resumed, **keep)
    if not first:
        return {}
    projection = splitting.project()
    return {"weights": model.state_dict(), "channels": projection.channels, "gap": projection.gap, **found}


def holding(held):
    """Let every training note how many numbers this rank has of weights, average and optimiser in the end."""
    finish = Loop.finish

    def noted(self):
        states = [value for state in self.inner_optimizer.state.values() for value in state.values() if value.ndim]
        average = self.average.state_dict()["average"] if self.average is not None else []
        held.append(sum(local(tensor).numel() for tensor in (*self.model.parameters(), *states, *average)))
        finish(self)

    Loop.finish = noted  # type: ignore[method-assign]


def gone_on(found, team):
    """The same from that state."""
    with alone(False):
        epochs, steps, run = team.ranks.of_first(lambda: copy.deepcopy(found["state"]))
    return kept(team, State(Course(before=Metric(value=0.5, n=1), epochs=epochs, steps=steps), run))


def on_rank(rank, ranks, folder):
    warnings.simplefilter("ignore")
    torch.manual_seed(rank)
    # Else no block of so small a network would be one.
    sharding.LEAST = 50
    place = Place(rank=rank, size=ranks, local_rank=rank, local_size=ranks, address="", port=0)
    team = join(place, RECIPE, FileStore(f"{folder}/store", ranks), in_shards=True)
    with alone():
        holding(held := [])
        once = kept(team)
        found = {
            "held": held[0],
            "cases": {name: ended(name, team) for name in TRAINED},
            "kept": once,
            "gone on": gone_on(once, team),
        }
        whole = replace(team, in_shards=False)
        found["gone on with ddp"] = gone_on(once, whole)
        found["gone on from ddp"] = gone_on(kept(whole), team)
    torch.save(found, f"{folder}/{rank}.pt")
    team.leave()


if __name__ == "__main__":
    sys.exit(forked(on_rank, int(sys.argv[1]), sys.argv[2]))
