"""LeNet-5 in the variant of the sparsity papers: 20-50-500-10, ReLU, no padding."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F


class LeNet5(nn.Module):
    """conv20@5x5 - pool - conv50@5x5 - pool - fc500 - fc; inputs of 28x28 pixels.

    431,080 parameters at 10 classes and one input channel, as in the code of
    Bui et al., "Structured sparsity of convolutional neural networks via nonconvex sparse group
    regularization", Front. Appl. Math. Stat. 6, 2021.
    """

    def __init__(self, num_classes: int = 10, in_channels: int = 1) -> None:
        super().__init__()
        self.input_shape = (in_channels, 28, 28)
        self.conv1 = nn.Conv2d(in_channels, 20, 5)
        self.conv2 = nn.Conv2d(20, 50, 5)
        self.fc1 = nn.Linear(50 * 4 * 4, 500)
        self.fc2 = nn.Linear(500, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (batch, num_classes) of images (batch, in_channels, 28, 28)."""
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        x = F.relu(self.fc1(x.flatten(1)))
        logits: Tensor = self.fc2(x)
        return logits


def lenet5(num_classes: int = 10, in_channels: int = 1) -> LeNet5:
    """LeNet-5 (20-50-500) for 28x28 images."""
    return LeNet5(num_classes, in_channels)
