"""LeJEPA: Provable and Scalable Self-Supervised Learning Without the Heuristics (Balestriero and LeCun 2025,
arXiv 2511.08544)."""

from __future__ import annotations

import torch
from lightly.loss import SIGReg
from lightly.loss.lejepa_loss import lejepa_invariance_loss
from lightly.models.modules.heads import LeJEPAProjectionHead
from torch import nn

from dsabench.checks import require_positive, require_share
from dsabench.methods.base import Method, Recipe
from dsabench.methods.crops import embed_crops
from dsabench.methods.embedding import full_precision
from dsabench.types import MethodOutput, Views

RECIPES = {
    "tiny": Recipe(
        options={"hidden_dim": 128, "output_dim": 64, "lambda_param": 0.05, "slices": 1024},
        optimizer={"optimizer": "adamw", "lr": 2e-3, "weight_decay": 1e-4},
        views="digits",
        epochs=60,
    ),
    # The loss and head that the paper recommends; for CIFAR it has no recipe, so the optimisation is that of the
    # authors' minimal example on ten classes of ImageNet.
    "small": Recipe(
        options={"hidden_dim": 2048, "output_dim": 64, "lambda_param": 0.05, "slices": 1024},
        optimizer={"optimizer": "adamw", "lr": 2e-3, "weight_decay": 5e-2, "warmup_epochs": 1},
        views="symmetric",
        epochs=200,
    ),
}


class LeJEPA(Method):
    """Every view predicts the mean of both large ones, and random projections of the embeddings are drawn to a
    standard normal by SIGReg, lambda * SIGReg + (1 - lambda) * prediction (section 5.1).

    The Epps-Pulley statistic along each of `slices` random directions is that of one view's embeddings of the global
    batch; small crops, where the batch has them, take part in both terms and in no mean.
    """

    def __init__(
        self,
        backbone: nn.Module,
        feature_dim: int,
        *,
        hidden_dim: int,
        output_dim: int,
        lambda_param: float,
        slices: int,
    ) -> None:
        super().__init__()
        require_positive(hidden_dim=hidden_dim, output_dim=output_dim, slices=slices)
        require_share(lambda_param=lambda_param)
        self.backbone = backbone
        self.projector = LeJEPAProjectionHead(feature_dim, hidden_dim, output_dim)
        self.embedding_dim = output_dim
        self.lambda_param = lambda_param
        # lightly's LeJEPALoss is the same sum, but it insists on small crops.
        self.sigreg = SIGReg(num_vectors=slices, gather_distributed=True)

    def forward(self, views: Views) -> MethodOutput:
        out, small = embed_crops(self.backbone, self.projector, views)
        with full_precision(out.z1):
            large = torch.stack([out.z1, out.z2])
            every = torch.stack([out.z1, out.z2, *small])
            prediction = lejepa_invariance_loss(all_proj=every, global_proj=large)
            loss = self.lambda_param * self.sigreg(every) + (1.0 - self.lambda_param) * prediction
        return MethodOutput(loss, *out)
