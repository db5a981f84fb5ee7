"""Image files, sorted into one folder per class."""

from __future__ import annotations

from pathlib import Path

import torch

from compressor.data.batches import Augmentation
from compressor.data.decoding import decode_all, native_shape
from compressor.data.layout import Part, find_layout
from compressor.data.reader import Parts, Shape, check_memory
from compressor.data.samples import Samples
from compressor.data.tree import open_tree
from compressor.errors import DataError


class Folder:
    """Images (jpg, png, bmp, webp) in one folder per class, in a folder or a zip file."""

    form = "folder:DIR or folder:FILE.zip"

    def read(self, place: str, shape: Shape | None) -> Parts:
        """Decode every image into memory; ``train``, ``test`` and ``val`` folders are taken as the split."""
        with open_tree(Path(place).expanduser()) as tree:
            layout = find_layout(tree)
            wanted = shape or native_shape(tree, layout.train[0][0])
            if wanted[0] not in (1, 3):
                raise DataError(f"{place} gives 1 or 3 channels, the network wants {wanted[0]}")
            count = sum(len(part) for part in (layout.train, layout.val, layout.test) if part)
            check_memory(count, wanted, place)

            def samples(part: Part) -> Samples:
                images = decode_all(tree, [name for name, _ in part], wanted)
                return Samples(images, torch.tensor([label for _, label in part]))

            return Parts(
                train=samples(layout.train),
                val=samples(layout.val) if layout.val else None,
                test=samples(layout.test) if layout.test else None,
                classes=layout.classes,
                augmentation=Augmentation(shift=wanted[1] // 8, flip=True),
            )
