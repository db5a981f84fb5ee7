from __future__ import annotations

import struct
import zipfile
from io import BytesIO

import pytest
import torch
from PIL import Image

from compressor.data import image_files, load_data
from compressor.data.samples import Augmentation
from compressor.errors import DataError

RED, BLUE, GREY = (255, 0, 0), (0, 0, 255), 128


def picture(colour=RED, size=(8, 6), kind="png"):
    mode = "L" if isinstance(colour, int) else "RGB"
    stream = BytesIO()
    Image.new(mode, size, colour).save(stream, kind)
    return stream.getvalue()


def two_classes(prefix="", count=10):
    """Files of two classes, blue birds and red cats."""
    return {
        f"{prefix}{name}/{index}.png": picture(colour)
        for name, colour in (("bird", BLUE), ("cat", RED))
        for index in range(count)
    }


def as_folder(path, files):
    for name, content in files.items():
        file = path / "images" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    return f"folder:{path / 'images'}"


def as_zip(path, files):
    with zipfile.ZipFile(path / "images.zip", "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return f"folder:{path / 'images.zip'}"


either = pytest.mark.parametrize("make", [as_folder, as_zip])


def refused(ref, match, shape=None):
    with pytest.raises(DataError, match=match):
        load_data(ref, shape)


@either
def test_one_folder_per_class_is_read_and_split(tmp_path, make):
    data = load_data(make(tmp_path, two_classes()))
    assert data.classes == ("bird", "cat")
    counts = [part.labels.bincount().tolist() for part in (data.train, data.val, data.test)]
    assert counts == [[7, 7], [1, 1], [2, 2]]


@either
def test_images_carry_the_colour_of_their_class(tmp_path, make):
    data = load_data(make(tmp_path, two_classes()))
    expected = torch.tensor([BLUE, RED], dtype=torch.uint8)[data.train.labels]
    assert torch.equal(data.train.images, expected[:, :, None, None].expand(-1, 3, 6, 8))


@either
def test_one_folder_around_the_classes_is_passed_through(tmp_path, make):
    assert load_data(make(tmp_path, two_classes("all/"))).classes == ("bird", "cat")


def test_single_class_folder_is_one_class(tmp_path):
    assert load_data(as_folder(tmp_path, {f"cat/{i}.png": picture() for i in range(5)})).classes == ("cat",)


@either
def test_image_below_its_class_folder_belongs_to_the_class(tmp_path, make):
    files = two_classes(count=5) | {"cat/more/1.png": picture(RED), "cat/more/2.png": picture(RED)}
    data = load_data(make(tmp_path, files), val_fraction=0)
    assert len(data.train) + len(data.test) == 12


@either
@pytest.mark.parametrize("val", ["val", "valid"])
@pytest.mark.parametrize("top", ["", "set/"])
def test_folders_train_val_and_test_are_the_split(tmp_path, make, val, top):
    files = two_classes(f"{top}train/", 3) | two_classes(f"{top}{val}/", 2) | two_classes(f"{top}test/", 1)
    data = load_data(make(tmp_path, files))
    assert (len(data.train), len(data.val), len(data.test)) == (6, 4, 2)
    assert data.classes == ("bird", "cat")


def test_validation_comes_from_train_when_it_has_no_folder(tmp_path):
    ref = as_folder(tmp_path, two_classes("train/", 5) | two_classes("test/", 1))
    data = load_data(ref, val_fraction=0.2)
    assert (len(data.train), len(data.val), len(data.test)) == (8, 2, 2)


def test_class_called_train_is_a_class_beside_others(tmp_path):
    files = {f"{name}/{index}.png": picture() for name in ("bus", "train") for index in range(5)}
    assert load_data(as_folder(tmp_path, files)).classes == ("bus", "train")


@pytest.mark.parametrize("kind", ["jpeg", "png", "bmp", "webp"])
def test_every_kind_of_file_is_decoded(tmp_path, kind):
    image = picture(RED, kind=kind)
    files = {f"{label}/{index}.{kind.upper()}": image for label in "ab" for index in range(4)}
    red, green, blue = load_data(as_folder(tmp_path, files)).train.images.float().mean((0, 2, 3)).tolist()
    assert (red > 240, green < 15, blue < 15) == (True, True, True)


def test_images_are_resized_to_what_the_network_wants(tmp_path):
    assert load_data(as_folder(tmp_path, two_classes()), (3, 5, 9)).input_shape == (3, 5, 9)


def test_images_are_resized_to_the_first_by_default(tmp_path):
    files = two_classes() | {"cat/large.png": picture(RED, (20, 20))}
    assert load_data(as_folder(tmp_path, files)).input_shape == (3, 6, 8)


def test_colour_becomes_grey_for_a_network_of_one_channel(tmp_path):
    assert load_data(as_folder(tmp_path, two_classes()), (1, 6, 8)).train.images.unique().tolist() == [29, 76]


def test_grey_first_image_makes_a_grey_data_set(tmp_path):
    files = {f"{label}/{index}.png": picture(GREY) for label in "ab" for index in range(4)}
    assert load_data(as_folder(tmp_path, files)).input_shape == (1, 6, 8)


def test_files_that_are_no_images_or_hidden_are_left_out(tmp_path):
    files = two_classes() | {
        "cat/notes.txt": b"",
        "cat/._1.png": b"",
        "__MACOSX/cat/._1.png": b"",
        ".git/x": b"",
    }
    data = load_data(as_zip(tmp_path, files))
    assert data.classes == ("bird", "cat")


def test_images_large_enough_for_several_threads_stay_with_their_labels(tmp_path):
    files = {f"{grey:03}/0.png": picture(grey, (97, 97)) for grey in range(0, 256, 2)}
    data = load_data(as_zip(tmp_path, files), val_fraction=0)
    assert torch.equal(data.train.images[:, 0, 0, 0].long(), data.train.labels * 2)


def test_suggestions_fit_photographs(tmp_path):
    data = load_data(as_folder(tmp_path, two_classes()), (3, 32, 32))
    assert (data.augmentation, data.normalization) == (Augmentation(shift=4, flip=True), None)


def test_missing_folder_is_refused(tmp_path):
    refused(f"folder:{tmp_path}/nothing", "there is no folder or zip file .*nothing")


def test_file_that_is_no_zip_is_refused(tmp_path):
    (tmp_path / "images.zip").write_text("hello")
    refused(f"folder:{tmp_path}/images.zip", "images.zip is neither a folder nor a zip file that can be read")


@either
@pytest.mark.parametrize("files", [{}, {"1.png": picture()}])
def test_images_without_class_folders_are_refused(tmp_path, make, files):
    (tmp_path / "images").mkdir()
    refused(make(tmp_path, files), "has no class folders: expected one folder of images per class")


@either
def test_class_without_images_is_refused(tmp_path, make):
    refused(make(tmp_path, two_classes() | {"dog/1.txt": b""}), "class folder .*dog has no images .*png")


def test_class_without_anything_is_refused(tmp_path):
    ref = as_folder(tmp_path, two_classes())
    (tmp_path / "images" / "dog").mkdir()
    refused(ref, "class folder .*dog has no images")


@pytest.mark.parametrize("names", [["train"], ["train", "val"], ["test", "val"]])
def test_part_of_a_split_is_refused(tmp_path, names):
    files = {name: content for part in names for name, content in two_classes(f"{part}/").items()}
    refused(as_folder(tmp_path, files | {"readme.png": b""}), "has the folders .*: a split needs train and test")


def test_two_validation_folders_are_refused(tmp_path):
    files = {f"{part}/a/1.png": picture() for part in ("train", "test", "val", "valid")}
    refused(as_folder(tmp_path, files), "test, train, val, valid: a split needs train and test, and may have")


def test_class_that_train_lacks_is_refused(tmp_path):
    files = two_classes("train/") | two_classes("test/") | {"test/dog/1.png": picture()}
    refused(as_folder(tmp_path, files), "test has classes that train lacks: dog")


@either
@pytest.mark.parametrize("content", [b"", b"hello", picture()[:45], picture(kind="jpeg")[:200]])
def test_unreadable_image_is_named(tmp_path, make, content):
    refused(
        make(tmp_path, two_classes() | {"cat/broken.png": content}),
        r"the image .*cat.broken\.png cannot be read",
    )


def test_damaged_zip_member_is_named(tmp_path):
    ref = as_zip(tmp_path, two_classes() | {"cat/broken.png": picture((1, 2, 3))})
    file = tmp_path / "images.zip"
    file.write_bytes(file.read_bytes().replace(picture((1, 2, 3)), bytes(len(picture((1, 2, 3))))))
    refused(ref, r"the image .*broken\.png cannot be read")


def test_sixteen_bits_per_channel_are_refused(tmp_path):
    stream = BytesIO()
    Image.new("I;16", (8, 6)).save(stream, "png")
    files = two_classes() | {"cat/deep.png": stream.getvalue()}
    refused(as_folder(tmp_path, files), r"deep\.png has more than 8 bits per channel")


def huge_bmp(side):
    """A BMP file of a few bytes that claims ``side`` x ``side`` pixels."""
    header = struct.pack("<IiiHHIIiiII", 40, side, side, 1, 24, 0, 0, 0, 0, 0, 0)
    return b"BM" + struct.pack("<IHHI", 54, 0, 0, 54) + header


@pytest.mark.parametrize("side", [10_000, 50_000])
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_decompression_bomb_is_refused(tmp_path, side):
    files = two_classes() | {"cat/bomb.bmp": huge_bmp(side)}
    refused(as_zip(tmp_path, files), r"bomb\.bmp is too large an image to decode")


def test_zip_member_that_unpacks_to_too_much_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(image_files, "MAX_FILE_BYTES", 1000)
    files = two_classes() | {"cat/large.png": bytes(2000)}
    refused(as_zip(tmp_path, files), r"the image .*large\.png cannot be read: it has .* more than any image")


def test_images_that_fill_the_memory_are_refused_before_decoding(tmp_path):
    match = (
        r"20 images of 3x20000x20000 needs 44.7 GiB of memory and at most 3.0 GiB is allowed; --max-memory allows more"
    )
    refused(as_folder(tmp_path, two_classes()), match, (3, 20_000, 20_000))


def test_two_channels_are_refused(tmp_path):
    refused(as_folder(tmp_path, two_classes()), "gives 1 or 3 channels, the network wants 2", (2, 8, 8))
