"""What every logger does."""

from __future__ import annotations

from typing import Protocol


class Logger(Protocol):
    """As those of Lightning Fabric, of whose methods it has these."""

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        """Take in figures by name, at a step of the training."""

    def save(self) -> None:
        """Write what was taken in."""

    def finalize(self, status: str) -> None:
        """End with ``success`` or ``failed``."""
