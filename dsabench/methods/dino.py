"""DINO: Emerging Properties in Self-Supervised Vision Transformers (Caron et al. 2021, arXiv 2104.14294)."""

from __future__ import annotations

import torch
from lightly.loss import DINOLoss
from lightly.models.modules.heads import ProjectionHead
from torch import Tensor, nn
from torch.nn.functional import linear, normalize

from dsabench.checks import require_positive, require_share
from dsabench.methods.base import Method, Recipe, tiny
from dsabench.methods.crops import embed_crops
from dsabench.methods.embedding import embed, full_precision
from dsabench.methods.integer import KnownInteger
from dsabench.teachers import cosine_momentum, make_teacher, move_teachers
from dsabench.types import MethodOutput, Views

RECIPES = {
    "tiny": tiny(
        hidden_dim=128,
        output_dim=64,
        prototypes=64,
        batch_norm=True,
        student_temperature=0.1,
        teacher_temperature=0.07,
        warmup_teacher_temperature=0.04,
        warmup_share=0.05,
        center_momentum=0.9,
        frozen_share=0.02,
        momentum=0.9,
    ),
    # solo-learn's CIFAR recipe; its last layer is frozen for 1 epoch of 1000 and its temperature warms up for 50.
    "small": Recipe(
        options={
            "hidden_dim": 2048,
            "output_dim": 256,
            "prototypes": 4096,
            "batch_norm": False,
            "student_temperature": 0.1,
            "teacher_temperature": 0.07,
            "warmup_teacher_temperature": 0.04,
            "warmup_share": 0.05,
            "center_momentum": 0.9,
            "frozen_share": 0.001,
            "momentum": 0.9995,
        },
        optimizer={"optimizer": "lars", "lr": 0.3, "weight_decay": 1e-6, "warmup_epochs": 10, "scale_lr": True},
        views="asymmetric",
        epochs=200,
    ),
}


class DINO(Method):
    """Each crop's softmax over prototypes is drawn to the EMA teacher's of the other views, centred, sharper (eq. 3).

    The teacher sees the two views and no small crop; its momentum rises from `momentum` to 1 on a cosine, its
    temperature on a line over the first `warmup_share` of training. The last layer, whose rows have unit length, does
    not move for the first `frozen_share`.
    """

    rests = True

    def __init__(
        self,
        backbone: nn.Module,
        feature_dim: int,
        *,
        hidden_dim: int,
        output_dim: int,
        prototypes: int,
        batch_norm: bool,
        student_temperature: float,
        teacher_temperature: float,
        warmup_teacher_temperature: float,
        warmup_share: float,
        center_momentum: float,
        frozen_share: float,
        momentum: float,
    ) -> None:
        super().__init__()
        require_positive(hidden_dim=hidden_dim, output_dim=output_dim, student_temperature=student_temperature)
        require_positive(teacher_temperature=teacher_temperature, warmup_teacher_temperature=warmup_teacher_temperature)
        require_share(warmup_share=warmup_share, frozen_share=frozen_share)
        require_share(center_momentum=center_momentum, momentum=momentum)
        if prototypes < 2:
            raise ValueError(f"prototypes must be >= 2, got {prototypes}")
        self.backbone = backbone
        self.projector = head(feature_dim, hidden_dim, output_dim, batch_norm)
        self.last_layer = nn.Linear(output_dim, prototypes, bias=False)
        self.teacher_backbone = make_teacher(self.backbone)
        self.teacher_projector = make_teacher(self.projector)
        self.teacher_last_layer = make_teacher(self.last_layer)
        self.embedding_dim = output_dim
        self.frozen_share, self.momentum = frozen_share, momentum
        self.teacher_temperatures = (warmup_teacher_temperature, teacher_temperature, warmup_share)
        self.frozen = KnownInteger(frozen_share > 0)
        self.loss = DINOLoss(
            prototypes,
            student_temp=student_temperature,
            center_momentum=center_momentum,
            warmup_teacher_temp_epochs=1,
        )
        # lightly counts epochs; a table of one entry, as a buffer, is the temperature of the step and is checkpointed.
        del self.loss.teacher_temp_schedule
        self.loss.register_buffer("teacher_temp_schedule", torch.zeros(1))
        self.set_teacher_temperature(0.0)

    def forward(self, views: Views) -> MethodOutput:
        out, small = embed_crops(self.backbone, self.projector, views)
        with torch.no_grad():
            target = embed(self.teacher_backbone, self.teacher_projector, views)
        with full_precision(out.z1):
            weight = self.last_layer.weight
            # Without a gradient the optimiser leaves it alone: no decay, no momentum.
            weight = weight.detach() if self.frozen.get() else weight
            student = [logits(z, weight) for z in (out.z1, out.z2, *small)]
            with torch.no_grad():
                teacher = [logits(z, self.teacher_last_layer.get_parameter("weight")) for z in (target.z1, target.z2)]
            loss = self.loss(teacher, student, epoch=0)
        return MethodOutput(loss, *out)

    def set_teacher_temperature(self, progress: float) -> None:
        start, end, share = self.teacher_temperatures
        done = progress / share if progress < share else 1.0
        self.loss.teacher_temp_schedule.fill_(start + (end - start) * done)

    def after_step(self, progress: float) -> None:
        move_teachers(self, cosine_momentum(self.momentum, 1.0, progress))
        self.frozen.set(progress < self.frozen_share)
        self.set_teacher_temperature(progress)


def logits(z: Tensor, weight: Tensor) -> Tensor:
    """Cosines (B, K) of embeddings `z` (B, P) and the rows of `weight` (K, P).

    As a weight-normalised layer of gain 1; torch's own does not survive the copy that makes a teacher.
    """
    return linear(normalize(z), normalize(weight))


def head(feature_dim: int, hidden_dim: int, output_dim: int, batch_norm: bool) -> nn.Module:
    """lightly's DINOProjectionHead up to the bottleneck, its initialisation too (appendix C)."""

    def norm() -> nn.Module | None:
        return nn.BatchNorm1d(hidden_dim) if batch_norm else None

    blocks = [
        (feature_dim, hidden_dim, norm(), nn.GELU()),
        (hidden_dim, hidden_dim, norm(), nn.GELU()),
        (hidden_dim, output_dim, None, None),
    ]
    module: nn.Module = ProjectionHead(blocks)
    for layer in module.modules():
        if isinstance(layer, nn.Linear):
            nn.init.trunc_normal_(layer.weight, std=0.02)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
    return module
