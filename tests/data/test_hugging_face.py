"""Data sets that the library `datasets` wrote; they need the library, all but what is said without it."""

from __future__ import annotations

import json
import warnings
from io import BytesIO

import numpy as np
import pytest
import torch
from PIL import Image

from compressor.checkpoints.fingerprints import data_fingerprint
from compressor.data import load_data
from compressor.data.feeds import feed_of
from compressor.data.named_parts import by_part
from compressor.errors import DataError, UsageError
from compressor.limits import memory_limit


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    with warnings.catch_warnings(action="ignore"), pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_HUB_OFFLINE", "1")
        patch.setenv("HF_HOME", str(tmp_path_factory.mktemp("hf")))
        found = pytest.importorskip("datasets", reason="the library datasets is not installed")
        found.disable_progress_bars()
        patch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path_factory.mktemp("cache"))
        yield found


def pictures(count, seed=0):
    random = np.random.default_rng(seed)
    return [Image.fromarray(random.integers(0, 255, (6, 8, 3), dtype=np.uint8)) for _ in range(count)]


def table(library, count, seed=0, kind=None, labels=None, **more):
    features = {"image": library.Image(), "label": kind or library.ClassLabel(names=["a", "b", "c"])}
    labels = [i % 3 for i in range(count)] if labels is None else labels
    columns = {"image": pictures(count, seed), "label": labels}
    return library.Dataset.from_dict(columns | more, features=library.Features(features) if not more else None)


def splits(library, **counts):
    return library.DatasetDict({name: table(library, n, seed) for seed, (name, n) in enumerate(counts.items())})


def equals(part, rows):
    images, labels = next(part.read([torch.arange(len(part))]))
    for image, label, row in zip(images, labels, rows, strict=True):
        assert np.array_equal(image.permute(1, 2, 0).numpy(), np.asarray(row["image"]))
        assert int(label) == row["label"]


def refused(ref, match, kind=DataError):
    with pytest.raises(kind, match=match) as caught:
        load_data(ref)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("form", ["disk", "parquet"])
def test_splits_are_taken_by_name(library, tmp_path, form):
    made = splits(library, train=30, validation=9, test=12)
    if form == "disk":
        made.save_to_disk(tmp_path / "set")
    else:
        for name, rows in made.items():
            (tmp_path / "set/data").mkdir(parents=True, exist_ok=True)
            rows.to_parquet(tmp_path / f"set/data/{name}-00000-of-00001.parquet")
    data = load_data(f"hf:{tmp_path / 'set'}")
    assert (data.classes, data.input_shape) == (("a", "b", "c"), (3, 6, 8))
    for part, name in ((data.train, "train"), (data.val, "validation"), (data.test, "test")):
        equals(part, made[name])


def test_one_split_is_divided_as_others_are(library, tmp_path):
    table(library, 60).save_to_disk(tmp_path / "train of mine")
    data = load_data(f"hf:{tmp_path / 'train of mine'}")
    assert [len(part) for part in (data.train, data.val, data.test)] == [43, 5, 12]
    assert data.test.labels.bincount().tolist() == [4, 4, 4]


def test_large_ones_are_streamed_with_the_same_bits(library, tmp_path):
    splits(library, train=600, test=30).save_to_disk(tmp_path / "set")
    memory = load_data(f"hf:{tmp_path / 'set'}")
    with memory_limit(150_000):
        stream = load_data(f"hf:{tmp_path / 'set'}", workers=2)
    assert (memory.streamed, stream.streamed) == (False, True)
    for one, other in zip(
        feed_of(memory, None).part("train", "cpu"), feed_of(stream, None).part("train", "cpu"), strict=True
    ):
        assert all(map(torch.equal, one, other))
    table(library, 600, seed=7).save_to_disk(tmp_path / "set/train")
    with memory_limit(150_000):
        assert data_fingerprint(load_data(f"hf:{tmp_path / 'set'}")) != data_fingerprint(stream)


@pytest.mark.parametrize("values", [["dog", "cat", "eel"], [7, 3, 5]])
def test_labels_without_names_are_sorted(library, tmp_path, values):
    kind = library.Value("string" if isinstance(values[0], str) else "int64")
    table(library, 30, kind=kind, labels=[values[i % 3] for i in range(30)]).save_to_disk(tmp_path / "set")
    data = load_data(f"hf:{tmp_path / 'set'}")
    assert data.classes == tuple(map(str, sorted(values)))


def test_labels_that_are_missing_are_told(library, tmp_path):
    library.DatasetDict(
        {"train": table(library, 30), "test": table(library, 9, labels=[-1] * 9)}
    ).save_to_disk(tmp_path / "set")  # fmt: skip
    refused(f"hf:{tmp_path / 'set'}", "test has the label -1; its classes are 0 to 2")


def test_columns_that_are_not_one_of_each_are_named(library, tmp_path):
    rows = table(library, 12).remove_columns(["label"])
    rows.save_to_disk(tmp_path / "set")
    refused(f"hf:{tmp_path / 'set'}", "has the columns image; one of images and one of labels are needed")


def test_paths_in_the_place_of_bytes_are_not_followed(library, tmp_path):
    Image.new("RGB", (4, 4)).save(tmp_path / "secret.png")
    rows = library.Dataset.from_dict(
        {"image": [{"bytes": None, "path": str(tmp_path / "secret.png")}] * 12, "label": [0] * 12},
        features=library.Features({"image": library.Image(), "label": library.ClassLabel(names=["a"])}),
    )
    rows.to_parquet(tmp_path / "train.parquet")
    refused(f"hf:{tmp_path}", "its bytes are not in the table")


def test_files_elsewhere_are_not_read(library, tmp_path):
    table(library, 12).save_to_disk(tmp_path / "set")
    state = json.loads((tmp_path / "set/state.json").read_text())
    state["_data_files"] = [{"filename": "../other/data.arrow"}]
    (tmp_path / "set/state.json").write_text(json.dumps(state))
    refused(f"hf:{tmp_path / 'set'}", "names the file '../other/data.arrow', which is not in its folder")


def test_scripts_are_neither_run_nor_data(library, tmp_path):
    (tmp_path / "set").mkdir()
    (tmp_path / "set/set.py").write_text("raise SystemExit('it ran')")
    refused(f"hf:{tmp_path / 'set'}", "holds neither what save_to_disk .* nor parquet files")


@pytest.mark.parametrize("content", [b"", b"PAR1 no parquet", b"{}"])
def test_damaged_files_are_one_line(library, tmp_path, content):
    (tmp_path / "train.parquet").write_bytes(content)
    refused(f"hf:{tmp_path}", "as a data set of Hugging Face, cannot be read")


def test_an_image_that_cannot_be_read_is_named_by_its_row(library, tmp_path):
    stream = BytesIO()
    Image.new("RGB", (4, 4)).save(stream, "png")
    good = {"bytes": stream.getvalue(), "path": None}
    rows = library.Dataset.from_dict(
        {"image": [good] * 11 + [{"bytes": b"no image", "path": None}], "label": [0] * 12},
        features=library.Features({"image": library.Image(), "label": library.ClassLabel(names=["a"])}),
    )
    rows.save_to_disk(tmp_path / "set")
    refused(f"hf:{tmp_path / 'set'}", r"train, row 11 cannot be read: cannot identify image file")


def test_without_the_library_a_line_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "datasets", None)
    (tmp_path / "train.parquet").touch()
    refused(f"hf:{tmp_path}", r"hf: needs the library datasets.*pip install 'torch-compressor\[datasets\]'", UsageError)


def test_a_folder_that_is_not_there_is_told(tmp_path):
    refused(f"hf:{tmp_path / 'nope'}", "there is no folder")


def named(root, *names):
    return {
        part: [path.name for path in paths] for part, paths in by_part([root / n for n in names], root, "x").items()
    }


def test_parts_go_by_the_first_word(tmp_path):
    root = tmp_path / "test"
    assert named(root, "train-0.tar", "valid_1.tar", "Test.2.tar", "train-1.tar") == {
        "test": ["Test.2.tar"], "train": ["train-0.tar", "train-1.tar"], "val": ["valid_1.tar"],
    }  # fmt: skip
    assert named(root, "train/a.tar", "dev/b.tar") == {"train": ["a.tar"], "val": ["b.tar"]}
    assert named(root, "b.tar", "trained.tar") == {"train": ["b.tar", "trained.tar"]}


@pytest.mark.parametrize("names", [("train-0.tar", "more.tar"), ("test-0.tar", "val.tar")])
def test_parts_that_are_not_clear_are_refused(tmp_path, names):
    with pytest.raises(DataError, match="names must say the part"):
        named(tmp_path, *names)
