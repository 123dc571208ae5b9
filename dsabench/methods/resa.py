"""ReSA: Clustering Properties of Self-Supervised Learning (Weng et al. 2025, arXiv 2501.18452)."""

from __future__ import annotations

import torch
from lightly.loss.swav_loss import sinkhorn
from lightly.models.modules import BarlowTwinsProjectionHead
from torch import Tensor, nn
from torch.nn import functional

from dsabench.checks import require_positive, require_share
from dsabench.gather import gather_rows
from dsabench.methods.base import Method, Recipe
from dsabench.methods.embedding import embed, full_precision
from dsabench.teachers import cosine_momentum, make_teacher, update_teacher
from dsabench.types import MethodOutput, Views

RECIPES = {
    "tiny": Recipe(
        options={"hidden_dim": 128, "output_dim": 64, "temperature": 0.4, "epsilon": 0.05, "momentum": 0.9},
        optimizer={"optimizer": "adamw", "lr": 2e-3, "weight_decay": 1e-4},
        views="digits",
        epochs=60,
    ),
    # The authors' CIFAR recipe (ResNet-18, 1000 epochs), whose first view is weakly augmented too.
    "small": Recipe(
        options={"hidden_dim": 2048, "output_dim": 512, "temperature": 0.4, "epsilon": 0.05, "momentum": 0.996},
        optimizer={"optimizer": "sgd", "lr": 0.3, "weight_decay": 1e-4, "warmup_epochs": 2, "scale_lr": True},
        views="weak_strong",
        epochs=200,
    ),
}


def assigned_cross_entropy(z: Tensor, targets: Tensor, assignments: Tensor, temperature: float) -> Tensor:
    """The mean over rows of -sum_j A_ij log softmax_j(cos(z_i, t_j) / temperature), ().

    `z` (N, P), `targets` (M, P), `assignments` A (N, M), rows of sum one.
    """
    cosine = functional.normalize(z, dim=1) @ functional.normalize(targets, dim=1).T
    return -(assignments * functional.log_softmax(cosine / temperature, dim=1)).sum(dim=1).mean()


class ReSA(Method):
    """Which images are similar is read off the backbone's features, balanced by Sinkhorn-Knopp, and the embeddings of
    both views learn it (eq. 4, 5).

    The assignments A are Sinkhorn's of exp(cos(h1_i, t1_j) / epsilon), h1 being the student's and t1 the EMA teacher's
    features of the first view, and every embedding is compared with the teacher's embeddings of the other view. As in
    the authors' code, which has a teacher where the paper's equations have none, A serves both directions. The
    teacher's momentum rises from `momentum` to 1 on a cosine.
    """

    def __init__(
        self,
        backbone: nn.Module,
        feature_dim: int,
        *,
        hidden_dim: int,
        output_dim: int,
        temperature: float,
        epsilon: float,
        momentum: float,
    ) -> None:
        super().__init__()
        require_positive(hidden_dim=hidden_dim, output_dim=output_dim, temperature=temperature, epsilon=epsilon)
        require_share(momentum=momentum)
        self.backbone = backbone
        self.projector = BarlowTwinsProjectionHead(feature_dim, hidden_dim, output_dim)
        self.teacher_backbone = make_teacher(self.backbone)
        self.teacher_projector = make_teacher(self.projector)
        self.embedding_dim = output_dim
        self.temperature, self.epsilon, self.momentum = temperature, epsilon, momentum

    def forward(self, views: Views) -> MethodOutput:
        out = embed(self.backbone, self.projector, views)
        with torch.no_grad():
            target = embed(self.teacher_backbone, self.teacher_projector, views)
        with full_precision(out.z1):
            assignments = self.assign(out.h1.detach(), gather_rows(target.h1))
            losses = [
                assigned_cross_entropy(z, gather_rows(t), assignments, self.temperature)
                for z, t in ((out.z1, target.z2), (out.z2, target.z1))
            ]
        return MethodOutput(0.5 * (losses[0] + losses[1]), *out)

    def assign(self, h: Tensor, others: Tensor) -> Tensor:
        """Assignments (N, M) of features `h` (N, D) to `others` (M, D): rows of sum one, columns about N / M."""
        cosine = functional.normalize(h, dim=1) @ functional.normalize(others, dim=1).T
        balanced: Tensor = sinkhorn(cosine, epsilon=self.epsilon, gather_distributed=True)
        return balanced

    def after_step(self, progress: float) -> None:
        momentum = cosine_momentum(self.momentum, 1.0, progress)
        update_teacher(self.backbone, self.teacher_backbone, momentum)
        update_teacher(self.projector, self.teacher_projector, momentum)
