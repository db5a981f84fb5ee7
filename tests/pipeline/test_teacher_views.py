"""What the dense network says of the views is asked once a run, and belongs to that network and those data."""

from __future__ import annotations

from dataclasses import replace

import pytest
import safetensors.torch
import torch

from compressor.checkpoints import load
from compressor.data import load_data
from compressor.pipeline import teacher_views
from compressor.pipeline.teacher_views import TeacherViews, fit
from compressor.progress import silent


@pytest.fixture(scope="module")
def dense():
    return load("digits_lenet")


@pytest.fixture(scope="module")
def data(dense):
    whole = load_data("digits", dense.metadata.input_shape)
    return replace(whole, train=whole.train.take(torch.arange(12)))


@pytest.fixture
def asked(monkeypatch):
    """How often the network was asked."""
    calls, ask = [], teacher_views.ask

    def counted(*args, **options):
        calls.append(args)
        return ask(*args, **options)

    monkeypatch.setattr(teacher_views, "ask", counted)
    return calls


def kept(dense, data, file, count=2, seed=1):
    return TeacherViews(dense, data, file, count=count, seed=seed, device="cpu").get(silent)


def test_it_is_asked_once(dense, data, asked, tmp_path):
    first, again = (kept(dense, data, tmp_path / "t") for _ in range(2))
    assert first.logits.shape == (2, 12, 10)
    assert torch.equal(first.logits, again.logits)
    assert torch.equal(first.views[1].of(data.train.images), again.views[1].of(data.train.images))
    assert len(asked) == 1


def test_another_network_or_seed_or_number_of_views_is_asked_anew(dense, data, asked, tmp_path):
    kept(dense, data, tmp_path / "t")
    kept(dense, data, tmp_path / "t", seed=2)
    kept(dense, data, tmp_path / "t", seed=2, count=1)
    kept(load("digits_lenet"), data, tmp_path / "t", seed=2, count=1)
    assert len(asked) == 3
    other = load("digits_lenet")
    with torch.no_grad():
        next(other.model.parameters()).mul_(0.5)
    kept(other, data, tmp_path / "t", seed=2, count=1)
    assert len(asked) == 4


def shortened(content):
    return content[:-8]


def of_another_shape(content):
    with_header = safetensors.torch.load(content)
    return safetensors.torch.save({"logits": with_header["logits"][:, :5].clone()}, METADATA[0])


METADATA = []


@pytest.mark.parametrize("damage", [shortened, of_another_shape, lambda content: b"", lambda content: b"{}" * 40])
def test_a_file_that_is_damaged_or_does_not_fit_is_made_anew(dense, data, asked, tmp_path, damage):
    file = tmp_path / "t"
    first = kept(dense, data, file)
    METADATA[:] = [{"bound_to": TeacherViews(dense, data, file, count=2, seed=1, device="cpu")._identity}]
    file.write_bytes(damage(file.read_bytes()))
    assert torch.equal(kept(dense, data, file).logits, first.logits)
    assert len(asked) == 2


def test_what_does_not_fit_into_memory_is_asked_at_every_step(data):
    assert fit(2, data)
    assert not fit(2 * 10**6, data)
