"""Fine-tune with a nonconvex sparse group lasso by variable splitting, in any training loop.

With W the trained weights, V and U auxiliary variables, and g the channel groups::

    F(W, V, U) = loss(W) + lambda_V r(V) + sum_g lambda_g phi(|U_g|) + beta/2 |W - V|^2 + beta/2 |W - U|^2

V and U are exact proxes of W, so they are never stored. In method budget (`Splitting`) W is pulled towards them after
every second step of the user's optimiser, by the implicit step W <- W + k (U - W), k = t beta / (1 + t beta) with t the
share of the training since the last pull: stable for every beta, untouched by momentum or Adam's scaling, and the same
for every learning rate. The papers' methods (`PaperSplitting`) act before every step, each in its own way; network
slimming (`Slimming`) splits the scales of norms.
"""

from __future__ import annotations

from compressor.alignment import Alignment
from compressor.records.stages import Projection
from compressor.splitting.build import build_splitting
from compressor.splitting.config import SplittingConfig
from compressor.splitting.paper import PaperSplitting
from compressor.splitting.slimming import Slimming
from compressor.splitting.splitting import Splitting
from compressor.splitting.targets import Target

__all__ = [
    "Alignment",
    "PaperSplitting",
    "Projection",
    "Slimming",
    "Splitting",
    "SplittingConfig",
    "Target",
    "build_splitting",
]
