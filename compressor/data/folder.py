"""Image files, sorted into one folder per class."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from compressor.data.reader import Parts, Shape
from compressor.data.streaming import Labelled, image_parts
from compressor.data.trees import Name, Tree, open_tree
from compressor.errors import DataError

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp")
PARTS = {"train", "val", "valid", "test"}

Part = list[tuple[Name, int]]


class Folder:
    """Images (jpg, png, bmp, webp) in one folder per class, in a folder or a zip file."""

    form = "folder:DIR or folder:FILE.zip"

    def read(self, place: str, shape: Shape | None) -> Parts:
        """Decode every image into memory, or when needed; ``train``, ``test`` and ``val`` folders are the split."""
        with open_tree(Path(place).expanduser()) as tree:
            layout = find_layout(tree)
            train, val, test = (
                Labelled(tree.encoded([name for name, _ in part]), torch.tensor([label for _, label in part]))
                if part
                else None
                for part in (layout.train, layout.val, layout.test)
            )
        assert train is not None
        return image_parts(place, train, val, test, classes=layout.classes, shape=shape)


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Image files with their labels; parts that have no folder of their own are None."""

    classes: tuple[str, ...]
    train: Part
    val: Part | None = None
    test: Part | None = None


def find_layout(tree: Tree) -> Layout:
    """Find the class folders, directly in ``tree`` or in its one top folder; raises `DataError`."""
    images = [name for name in tree.files if name[-1].lower().endswith(SUFFIXES)]
    root = _root(tree, images)
    top = tree.children(root)
    if top and set(top) <= PARTS:
        return _official(tree, root, images)
    classes = _classes(tree, root)
    return Layout(classes=classes, train=_part(tree, root, images, classes))


def _root(tree: Tree, images: list[Name]) -> Name:
    """The one folder around all the class folders, as many zip files have it."""
    top = tree.children(())
    nested = len(top) == 1 and bool(images) and all(len(name) > 2 for name in images)
    return (top[0],) if nested else ()


def _official(tree: Tree, root: Name, images: list[Name]) -> Layout:
    top = set(tree.children(root))
    if not {"train", "test"} <= top or {"val", "valid"} <= top:
        raise DataError(
            f"{tree.path} has the folders {', '.join(sorted(top))}: a split needs train and test,"
            " and may have val or valid"
        )
    classes = _classes(tree, (*root, "train"))
    parts = {name: _part(tree, (*root, name), images, classes) for name in sorted(top)}
    return Layout(classes=classes, train=parts["train"], val=parts.get("val", parts.get("valid")), test=parts["test"])


def _classes(tree: Tree, root: Name) -> tuple[str, ...]:
    classes = tuple(tree.children(root))
    if not classes:
        raise DataError(f"{tree.path.joinpath(*root)} has no class folders: expected one folder of images per class")
    return classes


def _part(tree: Tree, root: Name, images: list[Name], classes: tuple[str, ...]) -> Part:
    label_of = {name: label for label, name in enumerate(classes)}
    folders = _classes(tree, root)
    if strange := set(folders) - set(classes):
        raise DataError(f"{tree.path.joinpath(*root)} has classes that train lacks: {', '.join(sorted(strange))}")
    depth = len(root)
    inside = [name for name in images if name[:depth] == root and len(name) > depth + 1]
    if empty := set(folders) - {name[depth] for name in inside}:
        folder = tree.path.joinpath(*root, min(empty))
        raise DataError(f"class folder {folder} has no images ({', '.join(SUFFIXES)})")
    return [(name, label_of[name[depth]]) for name in inside]
