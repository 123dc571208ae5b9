"""A queue of past features, so that neighbours are looked for among more samples than a batch holds."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class FeatureQueue(nn.Module):
    """The last `size` features (P-dimensional) of a prior, first in first out; all of it is in the checkpoint."""

    def __init__(self, size: int, feature_dim: int) -> None:
        super().__init__()
        self.features: Tensor
        self.filled: Tensor
        self.register_buffer("features", torch.zeros(size, feature_dim))
        self.register_buffer("filled", torch.zeros((), dtype=torch.int64))
        # A full queue stays full, and asking a GPU how full it is would make every step wait for it.
        self.full = False

    def bank(self, u: Tensor) -> Tensor:
        """The batch `u` (N, P) over what the queue holds, newest first."""
        filled = len(self.features) if self.full else int(self.filled)
        self.full = filled == len(self.features)
        return torch.cat([u, self.features[:filled]])

    @torch.no_grad()
    def push(self, u: Tensor) -> None:
        """Put a batch in front and let the oldest fall out."""
        self.features.copy_(torch.cat([u, self.features])[: len(self.features)])
        self.filled.add_(len(u)).clamp_(max=len(self.features))
