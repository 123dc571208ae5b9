"""MoCo v3: An Empirical Study of Training Self-Supervised Vision Transformers (Chen et al. 2021, arXiv 2104.02057)."""

from __future__ import annotations

import torch
from lightly.models.modules import MoCoProjectionHead
from torch import nn

from dsabench.checks import require_positive, require_share
from dsabench.methods.base import Method, Recipe, tiny
from dsabench.methods.embedding import embed, full_precision
from dsabench.methods.info_nce import info_nce
from dsabench.teachers import cosine_momentum, make_teacher, move_teachers
from dsabench.types import MethodOutput, Views, widened

RECIPES = {
    "tiny": tiny(hidden_dim=128, output_dim=64, predictor_dim=128, temperature=0.2, momentum=0.9),
    # solo-learn's CIFAR recipe, whose projector for ResNets has two layers where the paper's has three.
    "small": Recipe(
        options={"hidden_dim": 4096, "output_dim": 256, "predictor_dim": 4096, "temperature": 0.2, "momentum": 0.99},
        optimizer={"optimizer": "lars", "lr": 0.3, "weight_decay": 1e-6, "warmup_epochs": 10, "scale_lr": True},
        views="asymmetric",
        epochs=200,
    ),
}


class MoCoV3(Method):
    """Each view's prediction finds the EMA teacher's key of the other view among the batch's (eq. 1, algorithm 1).

    The sum of both directions, times 2 `temperature`. The projector has three layers and the predictor two, all with
    batch norm (section 3). The teacher's momentum rises from `momentum` to 1 on a cosine; it stays in train mode.
    """

    def __init__(
        self,
        backbone: nn.Module,
        feature_dim: int,
        *,
        hidden_dim: int,
        output_dim: int,
        predictor_dim: int,
        temperature: float,
        momentum: float,
    ) -> None:
        super().__init__()
        require_positive(hidden_dim=hidden_dim, output_dim=output_dim, predictor_dim=predictor_dim)
        require_positive(temperature=temperature)
        require_share(momentum=momentum)
        self.backbone = backbone
        self.projector = MoCoProjectionHead(feature_dim, hidden_dim, output_dim, num_layers=3, batch_norm=True)
        self.predictor = MoCoProjectionHead(output_dim, predictor_dim, output_dim, num_layers=2, batch_norm=True)
        self.teacher_backbone = make_teacher(self.backbone)
        self.teacher_projector = make_teacher(self.projector)
        self.embedding_dim = output_dim
        self.temperature = temperature
        self.momentum = momentum

    def forward(self, views: Views) -> MethodOutput:
        out = embed(self.backbone, self.projector, views)
        q1, q2 = widened(self.predictor(torch.cat([out.z1, out.z2]))).chunk(2)
        with torch.no_grad():
            key = embed(self.teacher_backbone, self.teacher_projector, views)
        with full_precision(out.z1):
            both = info_nce(q1, key.z2, self.temperature) + info_nce(q2, key.z1, self.temperature)
            loss = 2 * self.temperature * both
        return MethodOutput(loss, *out)

    def after_step(self, progress: float) -> None:
        move_teachers(self, cosine_momentum(self.momentum, 1.0, progress))
