"""Three convolutions and one fully connected layer that holds most weights, for the data set ``curves``."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F


class CurvesCNN(nn.Module):
    """conv6@3x3 - pool - conv6@3x3 - pool - conv32@3x3 - pool - fc; inputs of 48x96 pixels.

    The shape is that of Xue and Xin, "Learning sparse neural networks via l0 and Tl1 by a relaxed variable splitting
    method with application to multi-scale curve classification", arXiv 1902.07419, 2019: each convolution is followed
    by max-pooling, and one fully connected layer holds most weights, here 4,608 of 6,714. The sizes are ours.
    """

    def __init__(self, num_classes: int = 2, in_channels: int = 1) -> None:
        super().__init__()
        self.input_shape = (in_channels, 48, 96)
        self.conv1 = nn.Conv2d(in_channels, 6, 3, padding=1)
        self.conv2 = nn.Conv2d(6, 6, 3, padding=1)
        self.conv3 = nn.Conv2d(6, 32, 3, padding=1)
        self.fc = nn.Linear(32 * 6 * 12, num_classes)
        for conv in (self.conv1, self.conv2, self.conv3):
            # The gain of ReLU would be too much for pixels that are as correlated as strokes: trainings collapse.
            nn.init.kaiming_normal_(conv.weight, nonlinearity="linear")

    def forward(self, x: Tensor) -> Tensor:
        """Logits (batch, num_classes) of images (batch, in_channels, 48, 96)."""
        for conv in (self.conv1, self.conv2, self.conv3):
            x = F.relu(F.max_pool2d(conv(x), 2))
        logits: Tensor = self.fc(x.flatten(1))
        return logits


def curves_cnn(num_classes: int = 2, in_channels: int = 1) -> CurvesCNN:
    """CNN of three small convolutions and one large layer, for 48x96 images."""
    return CurvesCNN(num_classes, in_channels)
