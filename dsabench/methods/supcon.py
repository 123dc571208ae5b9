"""SupCon: Supervised Contrastive Learning (Khosla et al. 2020, arXiv 2004.11362). It trains with labels."""

from __future__ import annotations

import torch
from lightly.models.modules import SimCLRProjectionHead
from torch import nn

from dsabench.checks import require_positive
from dsabench.methods.base import Method, Recipe, tiny
from dsabench.methods.embedding import embed, full_precision
from dsabench.methods.supcon_loss import supcon_loss
from dsabench.types import LabelledViews, MethodOutput

RECIPES = {
    "tiny": tiny(hidden_dim=128, output_dim=64, temperature=0.2),
    # solo-learn's CIFAR recipe.
    "small": Recipe(
        options={"hidden_dim": 2048, "output_dim": 256, "temperature": 0.2},
        optimizer={"optimizer": "sgd", "lr": 0.4, "weight_decay": 1e-5, "warmup_epochs": 10, "scale_lr": True},
        views="symmetric",
        epochs=200,
    ),
}


class SupCon(Method):
    """Each view is drawn to all others of its class against the rest of the global batch (eq. 2).

    The published second stage, a classifier on the frozen backbone, is a probe here. Labels are only compared, so
    that `num_classes` is not needed.
    """

    needs_labels = True

    def __init__(
        self,
        backbone: nn.Module,
        feature_dim: int,
        *,
        num_classes: int,
        hidden_dim: int,
        output_dim: int,
        temperature: float,
    ) -> None:
        super().__init__()
        require_positive(hidden_dim=hidden_dim, output_dim=output_dim, temperature=temperature)
        self.backbone = backbone
        self.projector = SimCLRProjectionHead(feature_dim, hidden_dim, output_dim)
        self.embedding_dim = output_dim
        self.temperature = temperature

    def forward(self, views: LabelledViews) -> MethodOutput:
        out = embed(self.backbone, self.projector, views)
        with full_precision(out.z1):
            loss = supcon_loss(torch.cat([out.z1, out.z2]), views.labels.repeat(2), self.temperature)
        return MethodOutput(loss, *out)
