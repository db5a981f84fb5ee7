"""What every callback does, without a trainer."""

from __future__ import annotations

import importlib
import sys

import pytest
from loop import CONFIGS, EPOCH_STEPS, EPOCHS, EXAMPLE, SAMPLES, loader, network, optimizer_of, plain, same
from torch import nn
from torch.nn import functional as F

from compressor.errors import CompressorWarning, UsageError
from compressor.integrations.compression import Compression, _some

LENGTHS = {"steps": EPOCHS * EPOCH_STEPS, "epoch_steps": EPOCH_STEPS, "samples": SAMPLES}


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.filterwarnings("ignore::compressor.errors.CompressorWarning")
def test_from_the_first_step_to_the_projection(name):
    model, compression = network(), Compression(EXAMPLE, CONFIGS[name])
    optimizer = optimizer_of(model)
    compression.begin(model, [optimizer], **LENGTHS)
    for _ in range(EPOCHS):
        for images, labels in loader():
            F.cross_entropy(model(images), labels).backward()
            optimizer.step()
            optimizer.zero_grad()
    compression.end(images for images, _ in loader())
    expected, projection = plain(CONFIGS[name])
    assert compression.projection == projection
    assert same(model, expected)


@pytest.mark.filterwarnings("ignore::compressor.errors.CompressorWarning")
def test_after_the_end_the_optimizer_is_free():
    model, compression = network(), Compression(EXAMPLE, {"target_macs": 0.5})
    optimizer = optimizer_of(model)
    for _ in range(2):  # a second training begins anew
        compression.begin(model, [optimizer], **LENGTHS)
        optimizer.step()
        assert compression.splitting.step == 1
        with pytest.warns(CompressorWarning, match="stopped after 1 of 24 steps"):
            compression.end([])
    optimizer.step()
    assert compression.splitting.step == 1


def test_wrong_options_are_refused_at_once():
    with pytest.raises(UsageError, match=r"--target-macs must lie in \(0, 1\], got 1.5"):
        Compression(EXAMPLE, {"target_macs": 1.5})


def test_statistics_are_of_enough_samples_and_not_of_all():
    seen = list(_some(EXAMPLE for _ in range(5000)))
    assert len(seen) == 1024


@pytest.mark.parametrize("name", ["lightning", "transformers", "ultralytics"])
def test_a_missing_library_is_named_with_the_extra_that_installs_it(name, monkeypatch):
    monkeypatch.setitem(sys.modules, name, None)
    for module in [key for key in sys.modules if key.startswith(f"{name}.")]:
        monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.delitem(sys.modules, f"compressor.integrations.{name}", raising=False)
    with pytest.raises(UsageError, match=rf"pip install 'torch-compressor\[{name}\]'"):
        importlib.import_module(f"compressor.integrations.{name}")


@pytest.mark.filterwarnings("ignore::compressor.errors.CompressorWarning")
def test_a_network_without_norms_needs_no_data():
    def never():
        raise AssertionError
        yield

    model, compression = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4)), None
    compression = Compression(EXAMPLE[0, 0], {"target_params": 0.5})
    optimizer = optimizer_of(model)
    compression.begin(model, [optimizer], **LENGTHS)
    with pytest.warns(CompressorWarning, match="stopped after 0 of 24 steps"):
        compression.end(never())
