"""Data sets of unknown origin: what would fill the memory, hang or leave the folder is refused in one line."""

from __future__ import annotations

import gzip
import os
import socket
import struct
import time
import warnings
import zipfile
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from compressor.data import image_files, load_data, trees, zips
from compressor.data.samples import DataSet, Samples, in_order_of
from compressor.errors import DataError
from compressor.limits import memory_limit

MIB = 2**20
LABELS = np.arange(30) % 3
GREY = np.zeros((30, 4, 5), np.uint8)


def stored(array):
    stream = BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def headed(header, data=b"", version=(1, 0)):
    """A .npy file whose header is ``header``, whatever that may be."""
    content = header.encode("latin1")
    size = struct.pack("<H" if version == (1, 0) else "<I", len(content))
    return b"\x93NUMPY" + bytes(version) + size + content + data


def npz(folder, x=None, y=None, **others):
    path = folder / "data.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        files = {"x": stored(GREY) if x is None else x, "y": stored(LABELS) if y is None else y}
        for name, content in (files | others).items():
            archive.writestr(f"{name}.npy", content)
    return f"npz:{path}"


def refused(ref, match, shape=None):
    started = time.monotonic()
    with pytest.raises(DataError, match=match) as caught:
        load_data(ref, shape)
    assert "\n" not in str(caught.value)
    assert time.monotonic() - started < 10


@pytest.mark.parametrize(
    "header",
    [
        "",
        "{",
        "{'descr': '|u1', 'fortran_order': False, 'shape': (",
        "{'descr': '|u1',\n 'fortran_order': False,\n    'shape': (3,)}\n  x",
        "(" * 5000,
        "[" * 9000 + "]" * 9000,
        "-" * 9000 + "1",
        "'" * 3,
        "{'descr': '|u1', 'fortran_order': False, 'shape': (1" + "0" * 5000 + ",)}",
        "{'descr': '|u1', 'fortran_order': False, 'shape': (-30, 4, 5)}",
        "{'descr': '|u1', 'fortran_order': False, 'shape': (2.5, 4, 5)}",
        "{'descr': '|u1', 'fortran_order': 3, 'shape': (30, 4, 5)}",
        "{'descr': '|O', 'fortran_order': False, 'shape': (30, 4, 5)}",
        "{'descr': [('a', '|O')], 'fortran_order': False, 'shape': (30, 4, 5)}",
        "{'descr': '<f99999999999999', 'fortran_order': False, 'shape': (30, 4, 5)}",
        "{'descr': ('|u1', (2,) * 99), 'fortran_order': False, 'shape': (30,)}",
        "{'descr': '\\xqq', 'fortran_order': False, 'shape': 1_0}",
        "__import__('os').abort()",
        "\0" * 50,
    ],
)
def test_damaged_headers_are_one_line(tmp_path, header):
    refused(npz(tmp_path, x=headed(header, bytes(600))), r"data\.npz")


@pytest.mark.parametrize("version", [(3, 0), (9, 9)])
def test_unknown_formats_are_refused(tmp_path, version):
    header = "{'descr': '|u1', 'fortran_order': False, 'shape': (30, 4, 5)}"
    refused(npz(tmp_path, x=headed(header, bytes(600), version)), "its format is .*, known are")


def test_a_header_that_promises_more_than_there_is_is_refused(tmp_path):
    header = "{'descr': '<f8', 'fortran_order': False, 'shape': (10000000000, 28, 28)}\n"
    refused(npz(tmp_path, x=headed(header, bytes(100))), "does not hold the 10000000000x28x28 entries")


def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path):
    ref = npz(tmp_path, x=stored(np.zeros((30, 1500, 1500), np.uint8)))
    assert (tmp_path / "data.npz").stat().st_size < MIB
    with memory_limit(100 * MIB):
        refused(ref, r"data\.npz unpacked needs 0\.2 GiB of memory .*; --max-memory allows more")


def test_more_memory_lets_a_large_file_in(tmp_path):
    with memory_limit(100 * MIB):
        assert len(load_data(npz(tmp_path, x=stored(np.zeros((30, 200, 200), np.uint8)))).train) == 22


def test_ten_million_classes_are_refused(tmp_path):
    refused(npz(tmp_path, classes=stored(np.zeros(10_000_000, "U1"))), r"unpacked needs .* --max-memory allows more")
    y = np.arange(200_000)
    with memory_limit(70 * MIB):
        refused(npz(tmp_path, x=stored(np.zeros((len(y), 1, 1), np.uint8)), y=stored(y)), "200000 classes needs")


@pytest.mark.parametrize(
    "labels",
    [
        LABELS.astype(np.uint64) + np.uint64(2**63),
        LABELS.astype(np.uint64) * 0 + np.uint64(2**64 - 1),
        LABELS - 1,
        LABELS + 2**62,
        LABELS.astype(complex),
        LABELS.astype("m8[s]"),
        LABELS.astype("M8[s]"),
        np.zeros(30, [("a", "i4")]),
        np.array([b"a"] * 30),
    ],
)
def test_labels_that_count_nothing_are_refused(tmp_path, labels):
    refused(npz(tmp_path, y=stored(labels)), "label")


@pytest.mark.parametrize("images", [np.asfortranarray(GREY), GREY.astype(">f4"), GREY.astype(np.float16)])
def test_unusual_but_sound_arrays_are_read(tmp_path, images):
    assert load_data(npz(tmp_path, x=stored(images), y=stored(LABELS.astype(">u8")))).input_shape == (1, 4, 5)


def test_class_names_that_are_no_characters_are_refused(tmp_path):
    wild = np.array([0x110000, 1, 2], np.uint32).view("<U1")
    refused(npz(tmp_path, classes=stored(wild)), "class names cannot be read")
    lone = np.array([0xD800, 0x41, 0x42], np.uint32).view("<U1")
    refused(npz(tmp_path, classes=stored(lone)), "has a class whose name is no valid text: '.ud800'")


def test_an_array_that_is_there_twice_is_refused(tmp_path):
    ref = npz(tmp_path)
    with zipfile.ZipFile(tmp_path / "data.npz", "a") as archive, warnings.catch_warnings(action="ignore"):
        archive.writestr("x.npy", stored(GREY))
    refused(ref, r"it holds 'x\.npy', which is none, or there twice")


def test_arrays_with_paths_are_not_those_wanted(tmp_path):
    refused(npz(tmp_path, **{"../../x": stored(GREY)}), "holds the arrays .*, expected x, y or")


def entry_fields(path, **fields):
    """Rewrite fields of every entry of a zip file, in both of its places."""
    content = bytearray(path.read_bytes())
    for mark, shift in ((b"PK\3\4", 0), (b"PK\1\2", 2)):
        place = content.find(mark)
        while place >= 0:
            for offset, value in ((4, fields.get("version")), (6, fields.get("flags")), (8, fields.get("method"))):
                if value is not None:
                    content[place + offset + shift : place + offset + shift + 2] = struct.pack("<H", value)
            place = content.find(mark, place + 4)
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"flags": 1}, "is encrypted; unpack it"),
        ({"method": 99}, "is packed by method 99; only stored"),
        ({"method": 14}, "is packed by method 14"),
        ({"version": 99}, r"cannot be read: zip file version 9\.9"),
    ],
)
@pytest.mark.parametrize("kind", ["npz", "folder"])
def test_zips_that_cannot_be_unpacked_are_refused(tmp_path, fields, complaint, kind):
    ref = npz(tmp_path) if kind == "npz" else pictures_in_zip(tmp_path / "data.npz")
    entry_fields(tmp_path / "data.npz", **fields)
    refused(ref, complaint)


def test_a_damaged_directory_of_a_zip_is_one_line(tmp_path):
    ref = npz(tmp_path)
    content = (tmp_path / "data.npz").read_bytes()
    for place in range(content.find(b"PK\1\2"), len(content)):
        damaged = bytearray(content)
        damaged[place] ^= 0xFF
        (tmp_path / "data.npz").write_bytes(damaged)
        try:
            load_data(ref)
        except DataError as error:
            assert "\n" not in str(error)  # noqa: PT017  (some places do not matter, the others are told)


def test_an_enormous_directory_is_refused_before_it_is_read(tmp_path):
    ref = npz(tmp_path)
    with memory_limit(zips.ENTRY_MEMORY), pytest.raises(DataError, match=r"a directory of \d+ files needs"):
        load_data(ref)


def pictures(count=4, size=(8, 6), mode="RGB"):
    stream = BytesIO()
    Image.new(mode, size).save(stream, "png")
    return {f"{label}/{i}.png": stream.getvalue() for label in ("bird", "cat") for i in range(count)}


def pictures_in_zip(path, **more):
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in (pictures() | more).items():
            archive.writestr(name, content)
    return f"folder:{path}"


@pytest.fixture
def photos(tmp_path):
    for name, content in pictures().items():
        file = tmp_path / "photos" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    return tmp_path / "photos"


def make_socket(path):
    # The path of a socket must be short: it is made where we are.
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("s")
    Path("s").rename(path)


special = pytest.mark.parametrize("make", [os.mkfifo, make_socket, lambda path: path.symlink_to("/dev/zero")])


@special
def test_an_image_that_is_no_regular_file_is_refused(photos, make):
    make(photos / "cat" / "x.png")
    refused(f"folder:{photos}", r"x\.png cannot be read: it is no regular file but a folder, FIFO, socket or device")


@special
@pytest.mark.parametrize("kind", ["npz", "folder"])
def test_an_archive_that_is_no_regular_file_is_refused(tmp_path, make, kind):
    make(tmp_path / "data.npz")
    refused(f"{kind}:{tmp_path}/data.npz", "it is no regular file")


def test_an_mnist_file_that_is_no_regular_file_is_not_found(tmp_path):
    os.mkfifo(tmp_path / "train-images-idx3-ubyte")
    refused(f"mnist:{tmp_path}", "no train-images-idx3-ubyte")


def test_a_bomb_of_mnist_is_refused(tmp_path):
    zeros = gzip.compress(struct.pack(">4B3I", 0, 0, 8, 3, 100_000, 28, 28) + bytes(100_000 * 784))
    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(zeros)
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(struct.pack(">4BI", 0, 0, 8, 1, 0))
    with memory_limit(100 * MIB):
        refused(f"mnist:{tmp_path}", "78400000 values, as its header promises, needs .* --max-memory allows more")


def test_no_more_is_unpacked_than_a_header_promises(tmp_path):
    start = struct.pack(">4B3I", 0, 0, 8, 3, 10, 28, 28)
    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(start + bytes(100 * MIB), 1))
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(struct.pack(">4BI", 0, 0, 8, 1, 0))
    refused(f"mnist:{tmp_path}", "does not hold the 7840 values that its header promises")


def test_links_that_lead_back_end(photos):
    (photos / "cat" / "again").symlink_to(photos)
    (photos / "bird" / "again").symlink_to(photos / "bird")
    data = load_data(f"folder:{photos}")
    assert data.classes == ("bird", "cat")


def test_linked_class_folders_are_read(photos, tmp_path):
    (tmp_path / "linked").mkdir()
    for name, target in (("a", "bird"), ("b", "cat"), ("c", "cat")):
        (tmp_path / "linked" / name).symlink_to(photos / target)
    assert load_data(f"folder:{tmp_path / 'linked'}").classes == ("a", "b", "c")


def test_links_that_multiply_are_bounded(tmp_path):
    for depth in range(30):
        (tmp_path / f"d{depth}").mkdir()
        for name in "ab":
            (tmp_path / f"d{depth}" / name).symlink_to(tmp_path / f"d{depth + 1}")
    with memory_limit(1000 * trees.ENTRY_MEMORY):
        refused(f"folder:{tmp_path / 'd0'}", r"a tree of 1001 files needs .* --max-memory allows more")


def test_folders_nested_without_end_are_refused(tmp_path, photos):
    (photos / "cat" / "/".join("d" * 80)).mkdir(parents=True)
    refused(f"folder:{photos}", "more than 64 folders inside each other")
    ref = pictures_in_zip(tmp_path / "deep.zip", **{"d/" * 30_000 + "1.png": b""})
    refused(ref, "more than 64 folders inside each other")


def test_a_dangling_link_is_named(photos):
    (photos / "cat" / "x.png").symlink_to("gone.png")
    refused(f"folder:{photos}", r"the image .*x\.png cannot be read: No such file or directory")


@pytest.mark.skipif(os.getuid() == 0, reason="root may read everything")
@pytest.mark.parametrize("name", ["cat/0.png", "cat"])
def test_what_may_not_be_read_is_named(photos, name):
    (photos / name).chmod(0)
    refused(f"folder:{photos}", "Permission denied")
    (photos / name).chmod(0o700)


def test_a_zip_that_unpacks_to_too_much_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "data.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in pictures().items():
            archive.writestr(name, content + bytes(20 * MIB))
    with memory_limit(100 * MIB):
        refused(f"folder:{tmp_path}/data.npz", "unpacked needs .* --max-memory allows more")


@pytest.mark.parametrize(
    "name", ["../../evil/1.png", "/evil/1.png", "evil/../../1.png", "\\evil\\1.png", "C:/evil/1.png", ".", "/", "//"]
)
def test_names_that_leave_a_zip_write_nothing(tmp_path, name):
    before = sorted(tmp_path.rglob("*"))
    ref = pictures_in_zip(tmp_path / "data.npz", **{name: next(iter(pictures().values()))})
    try:
        assert {"bird", "cat"} <= set(load_data(ref).classes)
    except DataError as error:
        assert "\n" not in str(error)  # noqa: PT017
    assert sorted(tmp_path.rglob("*")) == sorted([*before, tmp_path / "data.npz"])


def test_names_that_differ_in_case_are_two_classes(tmp_path):
    ref = pictures_in_zip(tmp_path / "data.npz", **{name.replace("cat", "CAT"): x for name, x in pictures().items()})
    assert load_data(ref).classes == ("CAT", "bird", "cat")


def test_class_folders_whose_names_are_no_text_are_refused(photos):
    (photos / "cat").rename(photos / os.fsdecode(b"\xff\xfe"))
    refused(f"folder:{photos}", "has a class whose name is no valid text")


def test_formats_that_run_programs_are_no_images(photos):
    (photos / "cat" / "x.png").write_bytes(
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 6\n%%EndComments\nshowpage\n"
    )
    refused(f"folder:{photos}", r"the image .*x\.png cannot be read: cannot identify image file")


def test_an_animated_image_is_its_first_frame(photos):
    first, second = (Image.new("RGB", (8, 6), colour) for colour in ("red", "blue"))
    first.save(photos / "cat" / "x.webp", save_all=True, append_images=[second], lossless=True)
    data = load_data(f"folder:{photos}", val_fraction=0)
    assert (data.train.images[:, 2].amax(), data.test.images[:, 2].amax()) == (0, 0)


def test_decoders_that_warn_are_quiet(photos):
    image = Image.new("P", (8, 6))
    image.putpalette([0, 0, 0] * 256)
    image.save(photos / "cat" / "x.png", transparency=b"\0" * 10)  # Pillow warns when such an image becomes RGB
    with warnings.catch_warnings(action="error"):
        load_data(f"folder:{photos}")


def test_large_images_are_decoded_one_at_a_time(photos, monkeypatch):
    monkeypatch.setattr(image_files, "LARGE", 10)
    monkeypatch.setattr(image_files, "SMALL", 1)
    busy, most = [], []
    load = Image.Image.load

    def watched(self):
        busy.append(self)
        most.append(len({id(one) for one in busy}))
        time.sleep(0.002)
        result = load(self)
        busy.remove(self)
        return result

    monkeypatch.setattr(Image.Image, "load", watched)
    monkeypatch.setattr(image_files, "CHUNK", 1)
    assert len(load_data(f"folder:{photos}").classes) == 2
    assert max(most) == 1


def test_many_entries_are_read_quickly(tmp_path):
    with zipfile.ZipFile(tmp_path / "data.npz", "w") as archive:
        for name, content in pictures().items():
            archive.writestr(name, content)
        for index in range(20_000):
            archive.writestr(f"cat/notes/{index}.txt", b"")
    started = time.monotonic()
    assert load_data(f"folder:{tmp_path}/data.npz").classes == ("bird", "cat")
    assert time.monotonic() - started < 5


def test_many_class_names_are_put_in_order_quickly():
    import torch

    names = tuple(str(i) for i in range(20_000))
    one = Samples(torch.zeros(2, 1, 1, 1, dtype=torch.uint8), torch.tensor([0, 19_999]))
    data = DataSet(ref="x", train=one, val=one, test=one, classes=names, normalization=None,
                   augmentation=None, split_seed=0, val_fraction=0.1)  # fmt: skip
    started = time.monotonic()
    assert in_order_of(data, names[::-1]).train.labels.tolist() == [19_999, 0]
    assert time.monotonic() - started < 2
