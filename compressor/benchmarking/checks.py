"""What may be asked of a benchmark, and what the files are called in it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from compressor.benchmarking.document import Settings
from compressor.benchmarking.environment import affinity
from compressor.benchmarking.providers import choose
from compressor.errors import UsageError


def check_settings(settings: Settings) -> None:
    """Raise `UsageError` for settings that cannot be timed."""
    choose(settings.provider)
    for name, least in (("threads", 1), ("pairs", 2), ("rounds", 1)):
        if getattr(settings, name) < least:
            raise UsageError(f"{name} must be at least {least}, got {getattr(settings, name)}")
    cpus = len(affinity())
    if settings.threads > cpus:
        raise UsageError(f"threads must be at most {cpus}, the processors given, got {settings.threads}")
    if not settings.max_seconds > 0:
        raise UsageError(f"max_seconds must be positive, got {settings.max_seconds}")
    distinct = len(set(settings.batches)) == len(settings.batches) > 0
    if not distinct or min(settings.batches) < 1:
        raise UsageError(f"batches must be distinct and at least 1, got {list(settings.batches)}")


def labels_of(paths: Sequence[Path], names: Sequence[str] | None) -> list[str]:
    """The names given, or the files' stems, numbered where they would be equal."""
    if not paths:
        raise UsageError("benchmark needs at least one file, got none")
    if names is not None:
        if len(names) != len(paths) or len(set(names)) != len(names):
            raise UsageError(f"names must be {len(paths)} distinct names, one per file, got {list(names)}")
        return list(names)
    labels: list[str] = []
    for path in paths:
        copies = (f"{path.stem}-{number}" for number in range(2, len(paths) + 2))
        labels.append(next(name for name in (path.stem, *copies) if name not in labels))
    return labels
