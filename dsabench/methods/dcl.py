"""DCL: Decoupled Contrastive Learning (Yeh et al. 2021, arXiv 2110.06848)."""

from __future__ import annotations

from lightly.loss import DCLLoss
from lightly.models.modules import SimCLRProjectionHead
from torch import nn

from dsabench.checks import require_positive
from dsabench.methods.base import Method, Recipe, tiny
from dsabench.methods.embedding import embed, full_precision
from dsabench.types import MethodOutput, Views

RECIPES = {
    "tiny": tiny(hidden_dim=128, output_dim=64, temperature=0.5),
    # solo-learn has no DCL: its CIFAR recipe for SimCLR, so that the two differ in the loss alone.
    "small": Recipe(
        options={"hidden_dim": 2048, "output_dim": 256, "temperature": 0.2},
        optimizer={"optimizer": "lars", "lr": 0.4, "weight_decay": 1e-4, "warmup_epochs": 10, "scale_lr": True},
        views="asymmetric",
        epochs=200,
    ),
}


class DCL(Method):
    """SimCLR with the positive pair taken out of the denominator (eq. 6), averaged over images and views."""

    def __init__(
        self, backbone: nn.Module, feature_dim: int, *, hidden_dim: int, output_dim: int, temperature: float
    ) -> None:
        super().__init__()
        require_positive(hidden_dim=hidden_dim, output_dim=output_dim, temperature=temperature)
        self.backbone = backbone
        self.projector = SimCLRProjectionHead(feature_dim, hidden_dim, output_dim)
        self.embedding_dim = output_dim
        self.loss = DCLLoss(temperature=temperature, gather_distributed=True)

    def forward(self, views: Views) -> MethodOutput:
        out = embed(self.backbone, self.projector, views)
        with full_precision(out.z1):
            return MethodOutput(self.loss(out.z1, out.z2), *out)
