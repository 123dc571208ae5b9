"""MSF: Mean Shift for Self-Supervised Learning (Koohpayegani et al. 2021, arXiv 2105.07269)."""

from __future__ import annotations

import torch
from lightly.models.modules import BYOLPredictionHead, BYOLProjectionHead
from lightly.models.modules.memory_bank import MemoryBankModule
from torch import Tensor, nn
from torch.nn import functional

from dsabench.checks import require, require_positive, require_share
from dsabench.gather import gather_rows
from dsabench.methods.base import Method, Recipe
from dsabench.methods.embedding import embed, full_precision
from dsabench.teachers import make_teacher, update_teacher
from dsabench.types import MethodOutput, Views, widened

RECIPES = {
    "tiny": Recipe(
        options={
            "hidden_dim": 128,
            "output_dim": 64,
            "predictor_dim": 128,
            "k": 5,
            "queue_size": 1024,
            "momentum": 0.9,
        },
        optimizer={"optimizer": "adamw", "lr": 2e-3, "weight_decay": 1e-4},
        views="digits",
        epochs=60,
    ),
    # The paper has no CIFAR recipe: its k and momentum, and the heads and optimisation of solo-learn's BYOL, of which
    # it is a descendant. Its queue of a million holds most of ImageNet; this one, most of CIFAR.
    "small": Recipe(
        options={
            "hidden_dim": 4096,
            "output_dim": 256,
            "predictor_dim": 4096,
            "k": 5,
            "queue_size": 32768,
            "momentum": 0.99,
        },
        optimizer={"optimizer": "lars", "lr": 1.0, "weight_decay": 1e-5, "warmup_epochs": 10, "scale_lr": True},
        views="asymmetric",
        epochs=200,
    ),
}


def mean_shift_loss(predictions: Tensor, targets: Tensor, memory: Tensor, k: int) -> Tensor:
    """The mean squared distance, (), of each unit prediction to the k entries nearest to its own target.

    `predictions` and `targets` (N, P); the unit rows of `memory` (M, P) hold the targets too, so that the nearest entry
    is the target itself. Source: arXiv 2105.07269, section 3.
    """
    near = (functional.normalize(targets, dim=1) @ memory.T).topk(k, dim=1).indices
    cosines = (functional.normalize(predictions, dim=1) @ memory.T).gather(1, near)
    return (2.0 - 2.0 * cosines).mean()


class MeanShift(Method):
    """Each view's prediction is drawn to the EMA teacher's embedding of the other view and to that one's neighbours.

    The k nearest, itself among them, are looked for among the teacher's embeddings of this batch, those of the same
    view, and a queue of those of earlier steps; with k = 1 it is BYOL. Both directions, averaged, where the paper has
    one. The queue takes the first view's embeddings, so that an image's other view is nobody's neighbour; until it is
    full, the entries that it was initialised with are random directions.
    """

    def __init__(
        self,
        backbone: nn.Module,
        feature_dim: int,
        *,
        hidden_dim: int,
        output_dim: int,
        predictor_dim: int,
        k: int,
        queue_size: int,
        momentum: float,
    ) -> None:
        super().__init__()
        require_positive(hidden_dim=hidden_dim, output_dim=output_dim, predictor_dim=predictor_dim)
        require_share(momentum=momentum)
        require(1 <= k <= queue_size, f"k must lie in 1 to queue_size = {queue_size}, got {k}")
        self.backbone = backbone
        self.projector = BYOLProjectionHead(feature_dim, hidden_dim, output_dim)
        self.predictor = BYOLPredictionHead(output_dim, predictor_dim, output_dim)
        self.teacher_backbone = make_teacher(self.backbone)
        self.teacher_projector = make_teacher(self.projector)
        self.queue = MemoryBankModule((queue_size, output_dim), gather_distributed=True, feature_dim_first=False)
        self.embedding_dim = output_dim
        self.k, self.momentum = k, momentum

    def forward(self, views: Views) -> MethodOutput:
        out = embed(self.backbone, self.projector, views)
        p1, p2 = widened(self.predictor(torch.cat([out.z1, out.z2]))).chunk(2)
        with torch.no_grad():
            target = embed(self.teacher_backbone, self.teacher_projector, views)
            t1, t2 = (functional.normalize(z, dim=1) for z in (target.z1, target.z2))
            _, queue = self.queue(t1, update=self.training)
        with full_precision(out.z1):
            losses = [
                mean_shift_loss(p, t, torch.cat([gather_rows(t), queue.to(t)]), self.k) for p, t in ((p1, t2), (p2, t1))
            ]
        return MethodOutput(0.5 * (losses[0] + losses[1]), *out)

    def after_step(self, progress: float) -> None:
        update_teacher(self.backbone, self.teacher_backbone, self.momentum)
        update_teacher(self.projector, self.teacher_projector, self.momentum)
