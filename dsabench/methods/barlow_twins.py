"""Barlow Twins: Self-Supervised Learning via Redundancy Reduction (Zbontar et al. 2021, arXiv 2103.03230)."""

from __future__ import annotations

from lightly.loss import BarlowTwinsLoss
from lightly.models.modules import BarlowTwinsProjectionHead
from torch import nn

from dsabench.checks import require_positive
from dsabench.gather import gather_rows
from dsabench.methods.base import Method, Recipe, tiny
from dsabench.methods.embedding import embed, full_precision
from dsabench.types import MethodOutput, Views

RECIPES = {
    "tiny": tiny(hidden_dim=128, output_dim=128, lambda_param=5e-3, scale=0.1),
    # solo-learn's CIFAR recipe.
    "small": Recipe(
        options={"hidden_dim": 2048, "output_dim": 2048, "lambda_param": 5.1e-3, "scale": 0.1},
        optimizer={"optimizer": "lars", "lr": 0.3, "weight_decay": 1e-4, "warmup_epochs": 10, "scale_lr": True},
        views="asymmetric",
        epochs=200,
    ),
}


class BarlowTwins(Method):
    """Draws the cross-correlation matrix of two views' embeddings to the identity (eq. 1), times `scale`."""

    def __init__(
        self,
        backbone: nn.Module,
        feature_dim: int,
        *,
        hidden_dim: int,
        output_dim: int,
        lambda_param: float,
        scale: float,
    ) -> None:
        super().__init__()
        require_positive(hidden_dim=hidden_dim, output_dim=output_dim, lambda_param=lambda_param, scale=scale)
        self.backbone = backbone
        self.projector = BarlowTwinsProjectionHead(feature_dim, hidden_dim, output_dim)
        self.embedding_dim = output_dim
        self.scale = scale
        self.loss = BarlowTwinsLoss(lambda_param=lambda_param)

    def forward(self, views: Views) -> MethodOutput:
        out = embed(self.backbone, self.projector, views)
        with full_precision(out.z1):
            return MethodOutput(self.scale * self.loss(gather_rows(out.z1), gather_rows(out.z2)), *out)
