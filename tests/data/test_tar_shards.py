"""Samples in tar files, as the library webdataset writes them: read here without it, and without its decoders."""

from __future__ import annotations

import io
import json
import pickle
import tarfile

import numpy as np
import pytest
import torch
from PIL import Image

from compressor.checkpoints.fingerprints import data_fingerprint
from compressor.data import load_data
from compressor.data.feeds import feed_of
from compressor.data.shards import expanded
from compressor.errors import DataError
from compressor.limits import memory_limit


def picture(seed, kind="png"):
    stream = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 255, (6, 8, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(stream, kind)
    return stream.getvalue()


def shard(path, samples, mode="w"):
    """Each sample is a dict of what belongs to the key of its number."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, mode) as archive:
        for number, sample in enumerate(samples):
            for suffix, content in sample.items():
                entry = tarfile.TarInfo(f"in/{number:05d}.{suffix}")
                entry.size = len(content)
                archive.addfile(entry, io.BytesIO(content))
    return path


def samples(count, first=0):
    return [{"png": picture(i), "cls": str(i % 3).encode()} for i in range(first, first + count)]


def refused(ref, match):
    with pytest.raises(DataError, match=match) as caught:
        load_data(ref)
    assert "\n" not in str(caught.value)


def seen(part):
    return {tuple(one.flatten().tolist()) for images, _ in part.read([torch.arange(len(part))]) for one in images}


def test_shards_are_one_set_of_samples_that_is_divided(tmp_path):
    for number in range(4):
        shard(tmp_path / f"all-{number:03d}.tar", samples(15, 15 * number))
    data = load_data(f"webdataset:{tmp_path}/all-{{000..003}}.tar")
    assert (data.classes, data.input_shape) == (("0", "1", "2"), (3, 6, 8))
    assert [len(part) for part in (data.train, data.val, data.test)] == [43, 5, 12]
    assert data.test.labels.bincount().tolist() == [4, 4, 4]
    assert len(seen(data.train) | seen(data.val) | seen(data.test)) == 60


def test_parts_are_those_of_the_names(tmp_path):
    shard(tmp_path / "train-0.tar", samples(20))
    shard(tmp_path / "train-1.tar", samples(20, 20))
    shard(tmp_path / "val-0.tar", samples(6, 40))
    shard(tmp_path / "test-0.tar", samples(9, 50))
    for place in (str(tmp_path), f"{tmp_path}/train-{{0..1}}.tar,{tmp_path}/val-0.tar,{tmp_path}/test-{{0..0}}.tar"):
        data = load_data(f"webdataset:{place}")
        assert [len(part) for part in (data.train, data.val, data.test)] == [40, 6, 9]
        images, labels = next(data.val.read([torch.arange(6)]))
        for index in range(6):
            expected = np.asarray(Image.open(io.BytesIO(picture(40 + index))))
            assert np.array_equal(images[index].permute(1, 2, 0).numpy(), expected)
        assert labels.tolist() == [(40 + i) % 3 for i in range(6)]


def test_large_ones_are_streamed_with_the_same_bits(tmp_path):
    shard(tmp_path / "train-0.tar", samples(300))
    shard(tmp_path / "train-1.tar", samples(100, 300))
    memory = load_data(f"webdataset:{tmp_path}")
    with memory_limit(90_000), pytest.MonkeyPatch.context() as patch:
        patch.setattr("compressor.data.shards.SAMPLE_MEMORY", 1)
        stream = load_data(f"webdataset:{tmp_path}", workers=2)
    assert (memory.streamed, stream.streamed) == (False, True)
    draws = (torch.Generator().manual_seed(2) for _ in range(2))
    epochs = (
        feed_of(data, None).epoch(0, batch_size=32, device=torch.device("cpu"), shuffle=draw)
        for data, draw in zip((memory, stream), draws, strict=True)
    )
    count = 0
    for one, other in zip(*epochs, strict=True):
        assert all(map(torch.equal, one, other))
        count += 1
    assert count == 9
    assert data_fingerprint(stream) != data_fingerprint(memory)


def test_json_says_the_class_too(tmp_path):
    named = [
        {"jpg": picture(i, "jpeg"), "json": json.dumps({"label": "ab"[i % 2], "id": i}).encode()} for i in range(20)
    ]
    shard(tmp_path / "a.tar", named)
    assert load_data(f"webdataset:{tmp_path}").classes == ("a", "b")


def test_numbers_are_places_in_the_output(tmp_path):
    shard(tmp_path / "a.tar", [{"png": picture(i), "cls": b"007" if i % 2 else b"2\n"} for i in range(20)])
    data = load_data(f"webdataset:{tmp_path}")
    assert data.classes == tuple("01234567")
    assert set(data.train.labels.tolist()) == {2, 7}


class Attack:
    def __reduce__(self):
        import os

        return os.mkdir, ("attacked",)


def test_other_entries_are_never_decoded(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code = pickle.dumps(Attack())
    odd = {"pyd": code, "pkl": code, "pickle": code, "pth": code, "npy": code, "txt": b"\xff", "mask.png": b"none"}
    shard(tmp_path / "a.tar", [sample | odd for sample in samples(12)])
    assert len(load_data(f"webdataset:{tmp_path}").classes) == 3
    shard(tmp_path / "b.tar", [{"png": code, "cls": b"1"}])
    refused(f"webdataset:{tmp_path}", r"b\.tar/in/00000\.png cannot be read: cannot identify image file")
    assert not (tmp_path / "attacked").exists()


def test_links_and_devices_in_a_tar_file_are_not_followed(tmp_path):
    with tarfile.open(shard(tmp_path / "a.tar", samples(12)), "a") as archive:
        for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE):
            entry = tarfile.TarInfo("z.png")
            entry.type, entry.linkname = kind, "/etc/passwd"
            archive.addfile(entry)
    data = load_data(f"webdataset:{tmp_path}")
    assert sum(len(part) for part in (data.train, data.val, data.test)) == 12


@pytest.mark.parametrize(
    ("sample", "told"),
    [
        ({"png": b"x"}, r"in/00000\.png has no class beside it"),
        ({"png": b"x", "json": b"{}"}, "has no class beside it"),
        ({"png": b"x", "json": b"{"}, "cannot be read: Expecting property name"),
        ({"png": b"x", "cls": b"\xff"}, "cannot be read: 'utf-8' codec"),
        ({"png": b"x", "cls": b"1" * 70_000}, "has 70000 bytes, more than any class"),
        ({"png": b"x", "cls": b"99999999999999"}, "classes needs .*--max-memory"),
        ({"png": b"x", "cls": b"9" * 5000}, "a class has 5000 letters, more than any name"),
        ({"txt": b"x", "cls": b"1"}, "holds no image"),
    ],
)
def test_samples_that_cannot_be_read_are_one_line(tmp_path, sample, told):
    shard(tmp_path / "a.tar", [sample])
    refused(f"webdataset:{tmp_path}", told)


def test_what_is_no_tar_file_is_refused(tmp_path):
    (tmp_path / "a.tar").write_bytes(b"x" * 3000)
    refused(f"webdataset:{tmp_path}", r"a\.tar, as an uncompressed tar file, cannot be read")
    shard(tmp_path / "a.tar", samples(3), "w:gz")
    refused(f"webdataset:{tmp_path}", r"a\.tar, as an uncompressed tar file, cannot be read")
    refused(f"webdataset:{tmp_path}/b-{{0..1}}.tar", r"b-0\.tar cannot be read: No such file")
    (tmp_path / "a.tar").unlink()
    refused(f"webdataset:{tmp_path}", "has no tar files")


def test_a_damaged_tar_file_is_one_line(tmp_path):
    content = shard(tmp_path / "a.tar", samples(4)).read_bytes()
    for place in range(0, 1536, 7):
        damaged = bytearray(content)
        damaged[place] ^= 0x55
        (tmp_path / "a.tar").write_bytes(damaged)
        try:
            load_data(f"webdataset:{tmp_path}")
        except DataError as error:
            assert "\n" not in str(error)  # noqa: PT017  (some places do not matter, the others are told)


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("a-{08..11}.tar", ["a-08.tar", "a-09.tar", "a-10.tar", "a-11.tar"]),
        ("{0..1}-{2..3}.tar", ["0-2.tar", "0-3.tar", "1-2.tar", "1-3.tar"]),
        ("a.tar,b.tar", ["a.tar", "b.tar"]),
        ("{a,../b}.tar", ["{a", "../b}.tar"]),
        ("{3..1}.tar", []),
    ],
)
def test_ranges_are_written_out(pattern, names):
    assert [str(path) for path in expanded(pattern)] == names


def test_endless_ranges_are_refused():
    with pytest.raises(DataError, match="is more than 1,000,000 files"):
        expanded("{0..99999999999999}.tar")


def test_what_the_library_writes_is_read(tmp_path):
    library = pytest.importorskip("webdataset", reason="the library webdataset is not installed")
    with library.ShardWriter(str(tmp_path / "train-%03d.tar"), maxcount=10, verbose=0) as writer:
        for i in range(30):
            writer.write({"__key__": f"{i:04d}", "png": picture(i), "cls": i % 3, "pyd": {"a": 1}})
    data = load_data(f"webdataset:{tmp_path}/train-{{000..002}}.tar")
    assert [len(part) for part in (data.train, data.val, data.test)] == [22, 2, 6]
