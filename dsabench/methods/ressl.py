"""ReSSL: Relational Self-Supervised Learning with Weak Augmentation (Zheng et al. 2021, arXiv 2107.09282)."""

from __future__ import annotations

import torch
from lightly.models.modules import MoCoProjectionHead
from lightly.models.modules.memory_bank import MemoryBankModule
from torch import Tensor, nn
from torch.nn import functional

from dsabench.checks import require_positive, require_share
from dsabench.methods.base import Method, Recipe, tiny
from dsabench.methods.embedding import embed, full_precision
from dsabench.teachers import cosine_momentum, make_teacher, move_teachers
from dsabench.types import MethodOutput, Views, widened

RECIPES = {
    "tiny": tiny(
        views="digits_weak_strong",
        hidden_dim=128,
        output_dim=64,
        temperature=0.1,
        teacher_temperature=0.04,
        queue_size=256,
        momentum=0.9,
        final_momentum=0.9,
    ),
    # solo-learn's CIFAR recipe, with the paper's queue for CIFAR: 65,536 keys would be more than the images.
    "small": Recipe(
        options={
            "hidden_dim": 4096,
            "output_dim": 256,
            "temperature": 0.1,
            "teacher_temperature": 0.04,
            "queue_size": 4096,
            "momentum": 0.99,
            "final_momentum": 1.0,
        },
        optimizer={"optimizer": "sgd", "lr": 0.05, "weight_decay": 1e-4, "warmup_epochs": 10, "scale_lr": True},
        views="weak_strong",
        epochs=200,
    ),
}


def relational_loss(
    student: Tensor, teacher: Tensor, queue: Tensor, *, temperature: float, teacher_temperature: float
) -> Tensor:
    """Cross-entropy, (), of the student's similarities to a queue (K, P) under the teacher's, both (B, P).

    All rows are unit vectors; no gradient belongs in the teacher's. Source: arXiv 2107.09282, section 3.2.
    """
    target = functional.softmax(teacher @ queue.T / teacher_temperature, dim=1)
    relation = functional.log_softmax(student @ queue.T / temperature, dim=1)
    return -(target * relation).sum(dim=1).mean()


class ReSSL(Method):
    """The student's view 2 is to resemble a queue of images as the EMA teacher's view 1 does (section 3.2).

    View 1 is meant to be a weak view and view 2 a strong one: that is the view policy's doing, `*weak_strong`. The
    queue holds the teacher's embeddings of earlier steps. The student embeds view 1 too, as every method does, with
    no gradient from this loss. The teacher stays in train mode; its momentum goes from `momentum` to `final_momentum`.
    """

    def __init__(
        self,
        backbone: nn.Module,
        feature_dim: int,
        *,
        hidden_dim: int,
        output_dim: int,
        temperature: float,
        teacher_temperature: float,
        queue_size: int,
        momentum: float,
        final_momentum: float,
    ) -> None:
        super().__init__()
        require_positive(hidden_dim=hidden_dim, output_dim=output_dim, queue_size=queue_size)
        require_positive(temperature=temperature, teacher_temperature=teacher_temperature)
        require_share(momentum=momentum, final_momentum=final_momentum)
        self.backbone = backbone
        self.projector = MoCoProjectionHead(feature_dim, hidden_dim, output_dim)
        self.teacher_backbone = make_teacher(self.backbone)
        self.teacher_projector = make_teacher(self.projector)
        self.queue = MemoryBankModule(size=(queue_size, output_dim), gather_distributed=True, feature_dim_first=False)
        self.embedding_dim = output_dim
        self.temperature = temperature
        self.teacher_temperature = teacher_temperature
        self.momentum = momentum
        self.final_momentum = final_momentum

    def forward(self, views: Views) -> MethodOutput:
        out = embed(self.backbone, self.projector, views)
        with torch.no_grad():
            target = widened(self.teacher_projector(self.teacher_backbone(views.view1)))
        with full_precision(out.z1):
            target, queue = self.queue(functional.normalize(target, dim=1), update=self.training)
            loss = relational_loss(
                functional.normalize(out.z2, dim=1),
                target,
                queue,
                temperature=self.temperature,
                teacher_temperature=self.teacher_temperature,
            )
        return MethodOutput(loss, *out)

    def after_step(self, progress: float) -> None:
        move_teachers(self, cosine_momentum(self.momentum, self.final_momentum, progress))
