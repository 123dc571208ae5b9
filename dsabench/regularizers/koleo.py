"""KoLeo: the Kozachenko-Leonenko entropy estimator as a regularizer (Sablayrolles et al. 2019, arXiv 1806.03198)."""

from __future__ import annotations

import torch
from lightly.loss import KoLeoLoss
from torch import Tensor, nn

from dsabench.checks import require
from dsabench.gather import gather_rows
from dsabench.regularizers.base import Regularizer
from dsabench.types import LabelledViews, MethodOutput, Views


class KoLeo(Regularizer):
    """Drives each embedding away from its nearest neighbour in the batch, within each view: a rival that shares
    nothing with DSA.

    Term: `koleo`, `weight` times the mean of both views' losses. Raises ValueError for a negative weight.
    """

    # A nearest neighbour is another image.
    smallest_batch = 2

    def __init__(
        self,
        encoder: nn.Module,
        feature_dim: int,
        embedding_dim: int,
        *,
        weight: float = 0.1,
        balance: bool = False,
    ) -> None:
        super().__init__(balance=balance)
        require(weight >= 0, "weight must be >= 0")
        self.weight = weight
        self.loss = KoLeoLoss()

    def forward(self, output: MethodOutput, views: Views | LabelledViews, progress: float) -> dict[str, Tensor]:
        with torch.autocast(output.z1.device.type, enabled=False):
            # At weight 0 nothing may reach the student, not even a gradient of zeros.
            z1, z2 = (z.float() if self.weight else z.float().detach() for z in (output.z1, output.z2))
            term = 0.5 * (self.loss(gather_rows(z1)) + self.loss(gather_rows(z2)))
        return {"koleo": self.weigh("koleo", self.weight, term, output)}
