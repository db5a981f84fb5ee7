"""The trained networks that ship with this package: ``models/`` in the sources and in the wheel."""

from __future__ import annotations

from pathlib import Path

import compressor


def folder() -> Path:
    """Where the embedded models lie: inside an installed package, beside it in a source tree."""
    package = Path(compressor.__file__).parent
    inside = package / "models"
    return inside if inside.is_dir() else package.parent / "models"


def names() -> dict[str, Path]:
    """Embedded models by name, sorted."""
    return {path.stem: path for path in sorted(folder().glob("*.pt"))}
