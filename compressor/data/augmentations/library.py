"""torchvision's transforms, an optional dependency."""

from __future__ import annotations

from typing import Any

from compressor.errors import UsageError


def transforms(name: str) -> Any:
    """The module ``torchvision.transforms.v2``; `UsageError` with what would help the augmentation ``name``."""
    try:
        from torchvision.transforms import v2
    except (ImportError, RuntimeError) as error:  # built for another torch, it fails where it registers its operators
        raise UsageError(
            f"--augment {name} needs torchvision, which cannot be imported ({error}); "
            "pip install 'torch-compressor[torchvision]'"
        ) from error
    return v2
