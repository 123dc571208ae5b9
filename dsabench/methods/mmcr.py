"""MMCR: Maximum Manifold Capacity Representations (Yerxa et al. 2023, arXiv 2303.03307)."""

from __future__ import annotations

import torch
from lightly.models.modules import MMCRProjectionHead
from torch import Tensor, nn
from torch.nn import functional

from dsabench.checks import require, require_positive
from dsabench.gather import gather_rows
from dsabench.methods.base import Method, Recipe
from dsabench.methods.embedding import embed, full_precision
from dsabench.types import MethodOutput, Views

RECIPES = {
    "tiny": Recipe(
        options={"hidden_dim": 128, "output_dim": 64, "lmda": 0.0},
        optimizer={"optimizer": "adamw", "lr": 2e-3, "weight_decay": 1e-4},
        views="digits",
        epochs=60,
    ),
    # The head of the paper's CIFAR experiments is 512 wide; the optimisation is that of solo-learn's CIFAR recipes for
    # the methods nearest to it (Barlow Twins, VICReg).
    "small": Recipe(
        options={"hidden_dim": 2048, "output_dim": 512, "lmda": 0.0},
        optimizer={"optimizer": "lars", "lr": 0.3, "weight_decay": 1e-4, "warmup_epochs": 10, "scale_lr": True},
        views="symmetric",
        epochs=200,
    ),
}


def mmcr_loss(z1: Tensor, z2: Tensor, lmda: float) -> Tensor:
    """Minus the nuclear norm of the centroids, plus `lmda` times the mean of that of each image's own views, ().

    `z1`, `z2` (N, P); their rows are brought to unit length, and the N centroids are the means of both. Source: arXiv
    2303.03307, eq. 4. lightly's MMCRLoss is the same value, but for 512 dimensions takes 14 times as long: it computes
    the singular vectors of every image's matrix, which nothing needs.
    """
    views = functional.normalize(torch.stack([z1, z2], dim=1), dim=2)
    loss: Tensor = -torch.linalg.svdvals(views.mean(dim=1)).sum()
    return loss + lmda * torch.linalg.svdvals(views).sum() / len(views) if lmda else loss


class MMCR(Method):
    """Maximises the nuclear norm of the matrix of centroids, the means of each image's two unit embeddings (eq. 4).

    `lmda` weighs the mean nuclear norm of each image's own views, which is to be small; the centroids see to that as
    well, and 0 leaves it out. No momentum encoder. The norms are of the global batch.
    """

    def __init__(self, backbone: nn.Module, feature_dim: int, *, hidden_dim: int, output_dim: int, lmda: float) -> None:
        super().__init__()
        require_positive(hidden_dim=hidden_dim, output_dim=output_dim)
        require(lmda >= 0, f"lmda must be >= 0, got {lmda}")
        self.backbone = backbone
        self.projector = MMCRProjectionHead(feature_dim, hidden_dim, output_dim)
        self.embedding_dim = output_dim
        self.lmda = lmda

    def forward(self, views: Views) -> MethodOutput:
        out = embed(self.backbone, self.projector, views)
        with full_precision(out.z1):
            return MethodOutput(mmcr_loss(gather_rows(out.z1), gather_rows(out.z2), self.lmda), *out)
