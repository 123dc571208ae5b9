"""BYOL: Bootstrap Your Own Latent (Grill et al. 2020, arXiv 2006.07733)."""

from __future__ import annotations

import torch
from lightly.loss import NegativeCosineSimilarity
from lightly.models.modules import BYOLPredictionHead, BYOLProjectionHead
from torch import nn

from dsabench.checks import require_positive, require_share
from dsabench.methods.base import Method, Recipe, tiny
from dsabench.methods.embedding import embed, full_precision
from dsabench.teachers import cosine_momentum, make_teacher, move_teachers
from dsabench.types import MethodOutput, Views, widened

RECIPES = {
    # A teacher of .99 still carries its initialisation after 300 steps; .9 was chosen on validation.
    "tiny": tiny(hidden_dim=128, output_dim=64, predictor_dim=128, momentum=0.9),
    # solo-learn's CIFAR recipe.
    "small": Recipe(
        options={"hidden_dim": 4096, "output_dim": 256, "predictor_dim": 4096, "momentum": 0.99},
        optimizer={"optimizer": "lars", "lr": 1.0, "weight_decay": 1e-5, "warmup_epochs": 10, "scale_lr": True},
        views="asymmetric",
        epochs=200,
    ),
}


class BYOL(Method):
    """Each view's prediction is drawn to the EMA teacher's projection of the other view (eq. 2).

    The teacher's momentum rises from `momentum` to 1 on a cosine (section 3.2). The teacher stays in train mode, as
    published: its batch norm sees the batch.
    """

    def __init__(
        self,
        backbone: nn.Module,
        feature_dim: int,
        *,
        hidden_dim: int,
        output_dim: int,
        predictor_dim: int,
        momentum: float,
    ) -> None:
        super().__init__()
        require_positive(hidden_dim=hidden_dim, output_dim=output_dim, predictor_dim=predictor_dim)
        require_share(momentum=momentum)
        self.backbone = backbone
        self.projector = BYOLProjectionHead(feature_dim, hidden_dim, output_dim)
        self.predictor = BYOLPredictionHead(output_dim, predictor_dim, output_dim)
        self.teacher_backbone = make_teacher(self.backbone)
        self.teacher_projector = make_teacher(self.projector)
        self.embedding_dim = output_dim
        self.momentum = momentum
        self.loss = NegativeCosineSimilarity()

    def forward(self, views: Views) -> MethodOutput:
        out = embed(self.backbone, self.projector, views)
        p1, p2 = widened(self.predictor(torch.cat([out.z1, out.z2]))).chunk(2)
        with torch.no_grad():
            target = embed(self.teacher_backbone, self.teacher_projector, views)
        with full_precision(out.z1):
            loss = 0.5 * (self.loss(p1, target.z2) + self.loss(p2, target.z1))
        return MethodOutput(loss, *out)

    def after_step(self, progress: float) -> None:
        move_teachers(self, cosine_momentum(self.momentum, 1.0, progress))
