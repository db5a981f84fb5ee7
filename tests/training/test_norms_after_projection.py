"""BatchNorm statistics after projection are those of the images that the network was trained on."""

import torch
from torch import nn

from compressor.checkpoints import Metadata, Network
from compressor.data.samples import Augmentation, DataSet, Samples
from compressor.sources import Architecture
from compressor.splitting import SplittingConfig
from compressor.stages.fine_tune import fine_tune
from compressor.training.recipe import Recipe


def white_images(augmentation):
    images = torch.full((64, 1, 8, 8), 255, dtype=torch.uint8)
    part = Samples(images, torch.arange(64) % 2)
    return DataSet(
        ref="white", train=part, val=part, test=part, classes=("a", "b"), normalization=None,
        augmentation=augmentation, split_seed=0, val_fraction=0.1,
    )  # fmt: skip


def input_mean_after_projection(augmentation):
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.BatchNorm2d(1), nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(128, 2)
    )
    network = Network(model, Metadata(architecture=Architecture("lenet5"), input_shape=(1, 8, 8)))
    recipe, penalties = Recipe(epochs=1, batch_size=32), SplittingConfig(target_macs=0.7)
    tuned = fine_tune(network, white_images(augmentation), recipe, penalties)
    return tuned.network.model[0].running_mean.item()


def test_without_augmentation_they_are_those_of_the_plain_images():
    assert abs(input_mean_after_projection(Augmentation()) - 1) < 1e-6


def test_with_augmentation_they_include_its_black_borders():
    assert input_mean_after_projection(Augmentation(shift=4)) < 0.8
