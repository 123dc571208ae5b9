"""VISReg: centre, scale and shape of the embeddings, each by a loss of its own (Wu et al. 2026, arXiv 2606.02572)."""

from __future__ import annotations

import torch
from lightly.loss.visreg_loss import visreg_center_loss, visreg_scale_loss, visreg_shape_loss
from torch import Tensor, nn

from dsabench.checks import require
from dsabench.gather import gather_rows
from dsabench.regularizers.base import Regularizer
from dsabench.types import LabelledViews, MethodOutput, Views


class VISReg(Regularizer):
    """Draws the embeddings of each view to a standard normal distribution: mean 0 (eq. 6), standard deviation 1 in
    every dimension (eq. 1), and normal quantiles along `slices` random directions (eq. 5), with equal weights.

    Term: `visreg`, `weight` times the sum of the three over the global batch, the mean of both views. Raises ValueError
    for a negative weight or without slices.
    """

    smallest_batch = 2

    def __init__(
        self,
        encoder: nn.Module,
        feature_dim: int,
        embedding_dim: int,
        *,
        weight: float = 0.1,
        slices: int = 1024,
        balance: bool = False,
    ) -> None:
        super().__init__(balance=balance)
        require(weight >= 0, "weight must be >= 0")
        require(slices >= 1, "slices must be >= 1")
        self.weight, self.slices = weight, slices

    def forward(self, output: MethodOutput, views: Views | LabelledViews, progress: float) -> dict[str, Tensor]:
        z = torch.stack([gather_rows(output.z1), gather_rows(output.z2)])
        with torch.autocast(z.device.type, enabled=False):
            # At weight 0 nothing may reach the student, not even a gradient of zeros.
            z = z.float() if self.weight else z.float().detach()
            term = visreg_center_loss(z) + visreg_scale_loss(z) + visreg_shape_loss(z, self.slices)
        return {"visreg": self.weigh("visreg", self.weight, term, output)}
