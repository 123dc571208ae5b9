"""TiCo: Transformation Invariance and Covariance Contrast (Zhu et al. 2022, arXiv 2206.10698)."""

from __future__ import annotations

import torch
from lightly.loss import TiCoLoss
from lightly.models.modules.heads import TiCoProjectionHead
from torch import nn

from dsabench.checks import require_positive, require_share
from dsabench.methods.base import Method, Recipe, tiny
from dsabench.methods.embedding import embed, full_precision
from dsabench.teachers import cosine_momentum, make_teacher, move_teachers
from dsabench.types import MethodOutput, Views

RECIPES = {
    "tiny": tiny(hidden_dim=128, output_dim=64, beta=0.9, rho=8.0, momentum=0.9),
    # solo-learn has no TiCo: lightly's beta and rho, and the optimisation of BYOL, whose heads and teacher TiCo has.
    "small": Recipe(
        options={"hidden_dim": 4096, "output_dim": 256, "beta": 0.9, "rho": 8.0, "momentum": 0.99},
        optimizer={"optimizer": "lars", "lr": 1.0, "weight_decay": 1e-5, "warmup_epochs": 10, "scale_lr": True},
        views="asymmetric",
        epochs=200,
    ),
}


class TiCo(Method):
    """Draws each view to the EMA teacher's other view, and away from where the embeddings of past batches vary.

    `beta` is the memory of the second moment C, `rho` the weight of the contrast with it. Each view is compared with
    the teacher's other one: the published loss (algorithm 1) over 2B pairs in the place of B.
    """

    def __init__(
        self,
        backbone: nn.Module,
        feature_dim: int,
        *,
        hidden_dim: int,
        output_dim: int,
        beta: float,
        rho: float,
        momentum: float,
    ) -> None:
        super().__init__()
        require_positive(hidden_dim=hidden_dim, output_dim=output_dim)
        require_share(beta=beta, momentum=momentum)
        if rho < 0:
            raise ValueError(f"rho must be >= 0, got {rho}")
        self.backbone = backbone
        self.projector = TiCoProjectionHead(feature_dim, hidden_dim, output_dim)
        self.teacher_backbone = make_teacher(self.backbone)
        self.teacher_projector = make_teacher(self.projector)
        self.embedding_dim = output_dim
        self.momentum = momentum
        self.loss = TiCoLoss(beta=beta, rho=rho, gather_distributed=True)
        # lightly keeps C as a plain attribute, which no checkpoint holds.
        del self.loss.C
        self.loss.register_buffer("C", torch.zeros(output_dim, output_dim))

    def forward(self, views: Views) -> MethodOutput:
        out = embed(self.backbone, self.projector, views)
        with torch.no_grad():
            target = embed(self.teacher_backbone, self.teacher_projector, views)
        with full_precision(out.z1):
            loss = self.loss(torch.cat([out.z1, out.z2]), torch.cat([target.z2, target.z1]))
        return MethodOutput(loss, *out)

    def after_step(self, progress: float) -> None:
        move_teachers(self, cosine_momentum(self.momentum, 1.0, progress))
