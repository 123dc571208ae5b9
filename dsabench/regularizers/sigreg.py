"""SIGReg: LeJEPA's sketched isotropic Gaussian regularization (Balestriero and LeCun 2025, arXiv 2511.08544)."""

from __future__ import annotations

import torch
from lightly.loss import SIGReg as SIGRegLoss
from torch import Tensor, nn

from dsabench.checks import require
from dsabench.regularizers.base import Regularizer
from dsabench.types import LabelledViews, MethodOutput, Views, widened


class SIGReg(Regularizer):
    """Draws the embeddings of each view to a standard normal distribution, along `slices` random directions, by the
    Epps-Pulley statistic of the global batch: a rival that shares nothing with DSA.

    Term: `sigreg`, `weight` times the mean statistic of both views; LeJEPA's own weight, beside its prediction loss, is
    .05. Raises ValueError for a negative weight or without slices.
    """

    smallest_batch = 2

    def __init__(
        self,
        encoder: nn.Module,
        feature_dim: int,
        embedding_dim: int,
        *,
        weight: float = 0.05,
        slices: int = 1024,
        balance: bool = False,
    ) -> None:
        super().__init__(balance=balance)
        require(weight >= 0, "weight must be >= 0")
        require(slices >= 1, "slices must be >= 1")
        self.weight = weight
        self.loss = SIGRegLoss(num_vectors=slices, gather_distributed=True)

    def forward(self, output: MethodOutput, views: Views | LabelledViews, progress: float) -> dict[str, Tensor]:
        z = torch.stack([output.z1, output.z2])
        with torch.autocast(z.device.type, enabled=False):
            # At weight 0 nothing may reach the student, not even a gradient of zeros.
            term = self.loss(widened(z) if self.weight else widened(z).detach())
        return {"sigreg": self.weigh("sigreg", self.weight, term, output)}
