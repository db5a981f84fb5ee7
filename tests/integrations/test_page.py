"""The lines that docs/integrations.md promises do what it says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from foreign import required
from loop import EPOCHS, EXAMPLE, loader, network, optimizer_of
from torch.nn import functional as F

PAGE = (Path(__file__).parents[2] / "docs" / "integrations.md").read_text(encoding="utf-8")

pytestmark = pytest.mark.filterwarnings("ignore")


def ran(heading, **known):
    """The names after the code under that heading, which begins with ``known`` ones."""
    section = PAGE.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    (code,) = re.findall(r"```python\n(.*?)```", section, flags=re.DOTALL)
    exec(compile(code, f"docs/integrations.md, {heading}", "exec"), known)
    return known


def weights(model):
    return sum(parameter.numel() for parameter in model.parameters())


def test_lightning():
    required("lightning.pytorch")
    import lightning.pytorch as L
    from test_lightning import Classifier

    def trainer(**options):
        return L.Trainer(
            accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False, **options
        )

    model = Classifier()
    names = ran("Lightning", Trainer=trainer, example=EXAMPLE, epochs=EPOCHS, model=model, loader=loader())
    assert weights(names["small"]) < weights(model)


def test_transformers(tmp_path):
    required("transformers")
    required("accelerate")
    from test_transformers_trainer import bert, sentences, settings
    from transformers import Trainer

    model, ids = bert(), torch.randint(50, (2, 8))
    known = {"Trainer": Trainer, "model": model, "ids": ids, "mask": torch.ones_like(ids)}
    names = ran("transformers", **known, args=settings(tmp_path), dataset=sentences())
    assert names["callback"].projection.warnings == ()
    assert weights(names["small"]) < 0.75 * weights(model)


def test_accelerate():
    required("accelerate")
    from accelerate import Accelerator

    model = network()
    known = {"accelerator": Accelerator(cpu=True), "model": model, "optimizer": optimizer_of(model), "F": F}
    names = ran("Accelerate", **known, loader=loader(), example=EXAMPLE, epochs=EPOCHS)
    assert weights(names["small"]) < weights(model)
