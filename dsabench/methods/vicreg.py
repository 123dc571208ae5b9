"""VICReg: Variance-Invariance-Covariance Regularization (Bardes et al. 2021, arXiv 2105.04906)."""

from __future__ import annotations

from lightly.loss import VICRegLoss
from lightly.models.modules.heads import VICRegProjectionHead
from torch import nn

from dsabench.checks import require_positive
from dsabench.methods.base import Method, Recipe, tiny
from dsabench.methods.embedding import embed, full_precision
from dsabench.types import MethodOutput, Views

RECIPES = {
    "tiny": tiny(hidden_dim=128, output_dim=128, sim_weight=25.0, var_weight=25.0, cov_weight=1.0),
    # solo-learn's CIFAR recipe, but for its views: crops from a fifth of the area and solarize .1 in both.
    "small": Recipe(
        options={"hidden_dim": 2048, "output_dim": 2048, "sim_weight": 25.0, "var_weight": 25.0, "cov_weight": 1.0},
        optimizer={"optimizer": "lars", "lr": 0.3, "weight_decay": 1e-4, "warmup_epochs": 10, "scale_lr": True},
        views="asymmetric",
        epochs=200,
    ),
}


class VICReg(Method):
    """Equal embeddings of two views, every dimension of some variance, no two correlated (eq. 6).

    The scale of the terms is that of the published code: the invariance is a mean over the dimensions too, and the
    variance a mean over the two views.
    """

    def __init__(
        self,
        backbone: nn.Module,
        feature_dim: int,
        *,
        hidden_dim: int,
        output_dim: int,
        sim_weight: float,
        var_weight: float,
        cov_weight: float,
    ) -> None:
        super().__init__()
        require_positive(hidden_dim=hidden_dim, output_dim=output_dim)
        if min(sim_weight, var_weight, cov_weight) < 0:
            raise ValueError("sim_weight, var_weight and cov_weight must be >= 0")
        self.backbone = backbone
        self.projector = VICRegProjectionHead(feature_dim, hidden_dim, output_dim)
        self.embedding_dim = output_dim
        self.loss = VICRegLoss(sim_weight, var_weight, cov_weight, gather_distributed=True)

    def forward(self, views: Views) -> MethodOutput:
        out = embed(self.backbone, self.projector, views)
        with full_precision(out.z1):
            return MethodOutput(self.loss(out.z1, out.z2), *out)
