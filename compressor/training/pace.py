"""What loggers are told of a training: its figures, how fast it goes, and how much of its time is the network's."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from compressor.records.run import Epoch


class Pace:
    """Of the steps since `begin`."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self.begin()

    def begin(self) -> None:
        """Count anew."""
        self._began, self._samples, self._steps, self._seconds = time.perf_counter(), 0, 0, 0.0
        self._events: list[tuple[torch.cuda.Event, torch.cuda.Event]] = []

    @contextmanager
    def network(self) -> Iterator[None]:
        """What runs in this block is the network's: forward and backward."""
        if self._device.type == "cuda":
            first, last = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
            first.record()
            yield
            last.record()
            self._events.append((first, last))
        else:
            began = time.perf_counter()
            yield
            self._seconds += time.perf_counter() - began

    def step(self, samples: int) -> None:
        """A step of the optimiser is done, for so many samples."""
        self._samples, self._steps = self._samples + samples, self._steps + 1

    def figures(self, steps_left: int) -> dict[str, float]:
        """By name; a GPU finishes its work first."""
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        passed = time.perf_counter() - self._began
        spent = self._seconds + sum(first.elapsed_time(last) for first, last in self._events) / 1000
        found = {
            "samples_per_second": self._samples / passed,
            "network_share": spent / passed,
            "seconds_left": steps_left * passed / max(1, self._steps),
        }
        if self._device.type == "cuda":
            found["device_memory_bytes"] = float(torch.cuda.max_memory_allocated(self._device))
        return found


def numbers_of(epoch: Epoch) -> dict[str, float]:
    """What is known of an epoch, by name, for loggers."""
    validation = epoch.validation.value if epoch.validation is not None else None
    named = {"loss": epoch.loss, "macs_kept": epoch.macs_kept, "beta": epoch.beta, "gap": epoch.gap}
    found = {"epoch": float(epoch.epoch), "validation": validation, **named}
    return {name: value for name, value in found.items() if value is not None}
