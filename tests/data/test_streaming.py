"""Images that exceed the memory allowed are streamed: everything gets the same bits as from memory."""

from __future__ import annotations

import pickle
import zipfile
from collections import deque
from io import BytesIO
from itertools import chain

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from compressor.checkpoints import Metadata, Network
from compressor.checkpoints.fingerprints import data_fingerprint, fingerprint
from compressor.data import load_data
from compressor.data.feeds import feed_of
from compressor.data.streaming import StreamedImages
from compressor.errors import DataError, UsageError
from compressor.limits import memory_limit
from compressor.sources import Architecture
from compressor.stages.evaluate import evaluate
from compressor.stages.fine_tune import fine_tune
from compressor.stages.samples import real_inputs, varied_batches
from compressor.training.recipe import Recipe
from compressor.training.views import Views, ask, draw_views

COUNT, SHAPE = 330, (3, 12, 10)
# Less than the images need, 2 x 330 x 360 bytes, and more than a batch of them.
LIMIT = 200_000
CPU = torch.device("cpu")


def pictures():
    random = np.random.default_rng(0)
    for index in range(COUNT):
        label = index % 3
        pixels = random.integers(0, 90, (*SHAPE[1:], 3), dtype=np.uint8)
        pixels[..., label] += 120
        stream = BytesIO()
        Image.fromarray(pixels).save(stream, "png" if index % 2 else "jpeg")
        yield f"{'abc'[label]}/{index}.{'png' if index % 2 else 'jpg'}", stream.getvalue()


@pytest.fixture(scope="module")
def refs(tmp_path_factory):
    """The same images as a folder, stored in a zip file, and deflated in one."""
    root = tmp_path_factory.mktemp("streamed")
    stored, packed = (zipfile.ZipFile(root / f"{name}.zip", "w", method) for name, method in (("s", 0), ("d", 8)))
    for name, content in pictures():
        file = root / "folder" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
        stored.writestr(name, content)
        packed.writestr(name, content)
    stored.close()
    packed.close()
    return {"folder": f"folder:{root / 'folder'}", "stored": f"folder:{stored.filename}",
            "deflated": f"folder:{packed.filename}"}  # fmt: skip


@pytest.fixture(params=["folder", "stored", "deflated"])
def ref(request, refs):
    return refs[request.param]


def streamed(ref, workers=0, **options):
    with memory_limit(LIMIT), pytest.MonkeyPatch.context() as patch:
        patch.setattr("compressor.data.trees.ENTRY_MEMORY", 1)
        patch.setattr("compressor.data.zips.ENTRY_MEMORY", 1)
        data = load_data(ref, workers=workers, **options)
    assert data.streamed
    return data


def network():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU(),
            nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(32, 3),
        )  # fmt: skip
    return Network(model, Metadata(architecture=Architecture("tiny"), input_shape=SHAPE))


def same(one, other):
    one, other = [*one], [*other]
    assert len(one) == len(other) > 0
    for batch, again in zip(one, other, strict=True):
        for tensor, equal in zip(batch, again, strict=True):
            assert tensor.dtype == equal.dtype
            assert torch.equal(tensor, equal)


def test_parts_are_those_in_memory(ref):
    memory, stream = load_data(ref, val_fraction=0.2, max_train=100), streamed(ref, val_fraction=0.2, max_train=100)
    assert not memory.streamed
    assert (stream.input_shape, stream.classes, stream.augmentation) == (
        memory.input_shape, memory.classes, memory.augmentation,
    )  # fmt: skip
    for part in ("train", "val", "test"):
        one, other = feed_of(memory, None), feed_of(stream, None)
        same(one.part(part, "cpu"), other.part(part, "cpu"))


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_training_batches_are_those_in_memory(refs, workers):
    one, other = feed_of(load_data(refs["folder"]), None), feed_of(streamed(refs["folder"], workers), None)
    draws = [torch.Generator().manual_seed(5) for _ in range(2)]
    torch.manual_seed(0)
    before = torch.get_rng_state()
    for epoch in range(2):
        same(*(feed.epoch(epoch, batch_size=32, device=CPU, shuffle=draw)
               for feed, draw in zip((one, other), draws, strict=True)))  # fmt: skip
    assert torch.equal(draws[0].get_state(), draws[1].get_state())
    assert torch.equal(torch.get_rng_state(), before)
    for kind, known in (("varied", {"most": 100}), ("plain", {})):
        options = {"batch_size": 16, "seed": 3, "device": CPU, **known}
        same(getattr(one, kind)(**options), getattr(other, kind)(**options))


def test_a_training_ends_with_the_same_bits(refs):
    recipe = Recipe(epochs=2, batch_size=16, lr=0.1, device="cpu")
    done = [
        fine_tune(network(), data, recipe, teacher=network().model)
        for data in (load_data(refs["stored"]), streamed(refs["stored"], 2))
    ]
    memory, stream = (fingerprint(tuned.network.model.state_dict()) for tuned in done)
    assert memory == stream
    assert done[0].record.trained.value == done[1].record.trained.value > done[0].record.before.value
    assert done[0].record.epochs == done[1].record.epochs


def test_what_stages_take_is_the_same(refs):
    memory, stream = load_data(refs["folder"]), streamed(refs["folder"], 2)
    assert evaluate(network(), memory).metric.value == evaluate(network(), stream).metric.value
    assert torch.equal(real_inputs(network(), memory), real_inputs(network(), stream))
    drawn = (varied_batches(network(), data, 50, 0).map(lambda batch: batch[0]) for data in (memory, stream))
    same(*(zip(given.split(50), strict=True) for given in drawn))


def test_a_teacher_says_the_same_of_views(refs):
    def viewed(data):
        views = draw_views(data, 2, seed=0)
        said = Views(views, ask(network().model, data, views, None))
        draw = torch.Generator().manual_seed(1)
        return said.batches(1, data, batch_size=20, normalization=None, device=CPU, shuffle=draw)

    same(viewed(load_data(refs["folder"])), viewed(streamed(refs["folder"], 2)))


def test_a_reading_that_is_left_halfway_disturbs_no_other(refs):
    data, whole = streamed(refs["folder"], 2).train, torch.arange(200).split(20)
    first = data.read(whole)
    began = [next(first)]
    same(data.read(whole), load_data(refs["folder"]).train.read(whole))
    same([*began, *first], data.read(whole))


def test_processes_that_are_begun_anew_can_be_sent_the_images(ref):
    data = streamed(ref)
    again = pickle.loads(pickle.dumps(data.train.images))
    same(zip(again.read([torch.arange(5)])), zip(data.train.images.read([torch.arange(5)])))


def test_no_image_is_decoded_before_it_is_needed(refs, monkeypatch):
    def decoded(*_):
        raise AssertionError

    monkeypatch.setattr("compressor.data.image_files._decode", decoded)
    data = streamed(refs["folder"])
    assert len(data.train.take(torch.arange(20))) == 20
    data_fingerprint(data)


def test_fingerprints_tell_images_apart(refs, tmp_path):
    assert data_fingerprint(streamed(refs["folder"])) == data_fingerprint(streamed(refs["folder"], 2))
    assert data_fingerprint(streamed(refs["folder"])) != data_fingerprint(streamed(refs["folder"], split_seed=1))
    files = dict(pictures())
    seen = {data_fingerprint(streamed(refs["stored"]))}
    for changed in ("a/0.jpg", "c/200.jpg"):
        content = files[changed]
        damaged = {**files, changed: content[:-9] + bytes([content[-9] ^ 1]) + content[-8:]}
        with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
            for name, content in damaged.items():
                archive.writestr(name, content)
        seen.add(data_fingerprint(streamed(f"folder:{tmp_path / 'x.zip'}")))
    assert len(seen) == 3


@pytest.mark.parametrize("workers", [0, 2])
def test_an_image_that_cannot_be_read_is_one_line(refs, tmp_path, workers):
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        for name, content in pictures():
            archive.writestr(name, content[:60] if name == "b/100.jpg" else content)
    data = streamed(f"folder:{tmp_path / 'x.zip'}", workers)
    read = chain.from_iterable(feed_of(data, None).part(part, "cpu") for part in ("train", "val", "test"))
    with pytest.raises(DataError, match=r"the image .*b/100\.jpg cannot be read") as caught:
        deque(read)
    assert "\n" not in str(caught.value)


def test_a_zip_file_that_changed_is_told(refs, tmp_path):
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in pictures():
            archive.writestr(name, content)
    data = streamed(f"folder:{path}")
    path.write_bytes(b"x" + path.read_bytes())
    with pytest.raises(DataError, match="its place in the zip file holds something else"):
        next(feed_of(data, None).part("train", "cpu"))


def test_a_batch_that_exceeds_the_memory_is_refused(refs):
    match = r"256 images of 3x400x400 needs .*--max-memory allows more"
    with memory_limit(1_000_000), pytest.raises(DataError, match=match):
        load_data(refs["folder"], (3, 400, 400))


def test_fewer_than_no_processes_are_refused():
    with pytest.raises(UsageError, match="must be 0 or more, got -1"):
        load_data("digits", workers=-1)


def test_names_that_are_no_text_are_kept(tmp_path):
    from compressor.data.encoded import Names

    names = ["a/ü.png", "\udcff/1.png", "", "b"]
    assert [Names(names)[i] for i in range(4)] == names


def test_how_many_processes_is_the_users_word(refs):
    images = streamed(refs["folder"], 3).val.images
    assert isinstance(images, StreamedImages)
    assert images.workers == 3
