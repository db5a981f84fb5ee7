"""What the processes of a command do that are not the first: they train what that one sends, and nothing else.

They read the same arguments, and load the same network and data.
"""

from __future__ import annotations

import os
import signal
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from compressor.cli.console import Console
from compressor.cli.launching import LEFT, in_shards, is_loss, ready
from compressor.cli.workers import when_parent_is_gone
from compressor.errors import CompressorError
from compressor.launcher import Place

if TYPE_CHECKING:
    from torch.distributed import Store  # type: ignore[attr-defined]  # torch says so only by running


def follow(console: Console, place: Place, options: dict[str, Any]) -> None:
    """What a process does that is not the first: train what that one sends, print nothing, write nothing."""
    # The first one is told as well, and its end is noticed; before they meet a launcher must be able to end this one.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    if place.started:
        when_parent_is_gone(partial(os._exit, LEFT))
    from compressor.cli.loading import load_network, load_samples
    from compressor.cli.training import load_teacher, recipe_of
    from compressor.stages.jobs import serve
    from compressor.training.team import join

    try:
        recipe = recipe_of(options)
        network, data = load_samples(console, load_network(options["model"], options, seed=recipe.seed), options)
        # That of a run is its dense network.
        teacher = load_teacher(options) if "teacher" in options else network.model
    except CompressorError:
        if place.started or place.local_rank == 0:
            raise
        raise click.exceptions.Exit(1) from None  # the first of this machine says it
    try:
        store = _store(place) if place.started else None
        team = join(place, recipe, store, in_shards=in_shards(options))
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        serve(team, network, data, teacher)
    except Exception as error:
        if is_loss(error):
            raise click.exceptions.Exit(LEFT) from error
        error.add_note(f"rank {place.rank} of {place.size}")
        raise


def _store(place: Place) -> Store:
    from torch.distributed import TCPStore  # type: ignore[attr-defined]

    store = TCPStore(place.address, place.port, place.size, is_master=False, wait_for_workers=False)
    store.set(ready(place.rank), "")
    return store
