from __future__ import annotations

import torch
from torch import nn

from compressor.architectures.curves_cnn import curves_cnn


def test_most_weights_are_in_the_fully_connected_layer():
    model = curves_cnn()
    weights = {name: p.numel() for name, p in model.named_parameters() if p.ndim > 1}
    assert (weights["fc.weight"], sum(weights.values())) == (4608, 6714)


def test_there_are_three_convolutions_and_one_linear_layer():
    kinds = [type(module) for module in curves_cnn().modules() if isinstance(module, nn.Conv2d | nn.Linear)]
    assert kinds == [nn.Conv2d] * 3 + [nn.Linear]


def test_each_convolution_is_followed_by_max_pooling():
    model = curves_cnn()
    x = image = torch.randn(1, 1, 48, 96, generator=torch.Generator().manual_seed(0))
    for conv in (model.conv1, model.conv2, model.conv3):
        x = nn.functional.max_pool2d(conv(x).relu(), 2)
    torch.testing.assert_close(model(image), model.fc(x.flatten(1)))
