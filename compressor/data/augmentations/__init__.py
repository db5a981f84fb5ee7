"""How training samples are varied, by name: one way a file; a new one is a file and a line in `AUGMENTATIONS`.

Crops, colours and mixing are torchvision's (``transforms.v2``), as other people train with them. It draws once for a
whole batch, and from the global generator: so crops and colours are given one image after the other, and the global
generator begins with a number of ours meanwhile. kornia would draw for each image of a batch, from the global generator
too; one library is enough, and torchvision is the one that is there for its networks.
"""

from __future__ import annotations

from dataclasses import replace

from compressor.data.samples import Augmentation, DataSet
from compressor.data.variation import Several, Variation
from compressor.errors import UsageError
from compressor.registry import resolve
from compressor.tasks.classification import Classification

AUGMENTATIONS = {
    "cutmix": "compressor.data.augmentations.cutmix:CutMix",
    "mixup": "compressor.data.augmentations.mixup:MixUp",
    "random-resized-crop": "compressor.data.augmentations.random_resized_crop:RandomResizedCrop",
    "shift-flip": "compressor.data.samples:Augmentation",
    "trivial": "compressor.data.augmentations.trivial:Trivial",
}


def augmented(data: DataSet, names: str) -> DataSet:
    """``data`` with the augmentations that ``names`` says, with commas in between; "none" for none.

    Raises `UnknownName` or `UsageError` for those that there are not, and where the task has no use for mixed labels.
    """
    if names == "none":
        return replace(data, augmentation=Augmentation())
    wanted = [name.strip() for name in names.split(",")]
    if "none" in wanted or len(set(wanted)) < len(wanted):
        raise UsageError(f"--augment takes 'none', or different names with commas in between, got {names!r}")
    kinds: list[type[Variation]] = [resolve("augmentation", AUGMENTATIONS, name) for name in wanted]
    known = data.augmentation, len(data.classes), data.input_shape
    parts = tuple(kind.for_images(*known) for kind in kinds)
    mixing = [part.name for part in parts if part.mixes]
    if mixing and not isinstance(data.task, Classification):
        raise UsageError(
            f"--augment {mixing[0]} mixes the classes of samples, which needs --task classification, "
            f"got {type(data.task).__name__}"
        )
    return replace(data, augmentation=parts[0] if len(parts) == 1 else Several(parts))
