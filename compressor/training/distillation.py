"""What a network that is trained learns from a teacher: soft labels beside the hard ones."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

SHARE, TEMPERATURE = 0.5, 2.0


def distilled(logits: Tensor, labels: Tensor, said: Tensor, share: float = SHARE) -> Tensor:
    """The mean loss of ``logits`` (batch, classes): ``share`` of it by what the teacher ``said``, of the same shape.

    Hinton et al., "Distilling the knowledge in a neural network", 2015, with gradients that do not depend on the
    temperature.
    """
    soft = F.softmax(said / TEMPERATURE, dim=1)
    divergence = F.kl_div(F.log_softmax(logits / TEMPERATURE, dim=1), soft, reduction="batchmean")
    return (1 - share) * F.cross_entropy(logits, labels) + share * TEMPERATURE**2 * divergence
