"""Fine-tune with a nonconvex sparse group lasso by variable splitting, in anybody's training loop.

With W the trained weights, V and U auxiliary copies, and g the channel groups::

    F(W, V, U) = loss(W) + lambda_V r(V) + sum_g lambda_g phi(|U_g|) + beta/2 |W - V|^2 + beta/2 |W - U|^2

V and U are exact proxes of W, so they are never stored. In method budget W is pulled towards them after every second
step of the user's optimiser, by the implicit step W <- W + k (U - W), k = r beta / (1 + r beta) with r the sum of the
learning rates since the last pull: stable for every beta and untouched by momentum or Adam's scaling. The papers'
methods (`compressor.methods`) act before every step, each in its own way.
"""

from __future__ import annotations

from compressor.alignment import Alignment
from compressor.records import Sparsity
from compressor.splitting.budget import Target
from compressor.splitting.config import SplittingConfig
from compressor.splitting.projection import Projection
from compressor.splitting.splitting import Splitting

__all__ = ["Alignment", "Projection", "Sparsity", "Splitting", "SplittingConfig", "Target"]
