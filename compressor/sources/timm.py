"""Networks of timm, which is optional."""

from __future__ import annotations

from functools import partial
from typing import Any

from compressor.errors import UnknownName, UsageError
from compressor.sources.factory import call


def build(name: str, args: dict[str, Any]) -> Any:
    """A timm model with random weights."""
    try:
        import timm
    except (ImportError, RuntimeError) as error:
        raise UsageError(
            f"timm:{name} needs timm, which cannot be imported ({error}); pip install 'torch-compressor[timm]'"
        ) from error
    if not timm.is_model(name):
        raise UnknownName("timm model", name, timm.list_models())
    return call(partial(timm.create_model, name, pretrained=False), f"timm:{name}", args)
