"""SwAV: Unsupervised Learning ... by Contrasting Cluster Assignments (Caron et al. 2020, arXiv 2006.09882)."""

from __future__ import annotations

import torch
from lightly.loss import SwaVLoss
from lightly.models.modules import SwaVProjectionHead
from torch import Tensor, nn
from torch.nn.functional import linear, normalize

from dsabench.checks import require_positive, require_share
from dsabench.gather import gather_rows, own_rows, world_size
from dsabench.methods.base import Method, Recipe, tiny
from dsabench.methods.crops import embed_crops
from dsabench.methods.embedding import full_precision
from dsabench.methods.integer import KnownInteger
from dsabench.types import MethodOutput, Views

RECIPES = {
    "tiny": tiny(
        hidden_dim=128,
        output_dim=64,
        prototypes=64,
        temperature=0.1,
        epsilon=0.05,
        frozen_share=0.02,
        queue_size=1024,
        queue_start=0.2,
    ),
    # solo-learn's CIFAR recipe; its prototypes are frozen for 2 epochs of 1000 and its queue starts at the 50th.
    "small": Recipe(
        options={
            "hidden_dim": 2048,
            "output_dim": 128,
            "prototypes": 3000,
            "temperature": 0.1,
            "epsilon": 0.05,
            "frozen_share": 0.002,
            "queue_size": 3840,
            "queue_start": 0.05,
        },
        optimizer={"optimizer": "lars", "lr": 0.6, "weight_decay": 1e-6, "warmup_epochs": 10, "scale_lr": True},
        views="symmetric",
        epochs=200,
    ),
}


class SwAV(Method):
    """Predicts each view's assignment to prototypes, balanced by Sinkhorn-Knopp, from the other crops (eq. 1, 2, 3).

    The prototypes, of unit length, do not move for the first `frozen_share` of training. From `queue_start` on the
    embeddings of past batches are kept, and once there are `queue_size` they take part in the assignment (section
    3.1); 0 means no queue. Small crops, where the batch has them, predict and are not predicted (section 3.2).
    """

    rests = True
    queue: Tensor

    def __init__(
        self,
        backbone: nn.Module,
        feature_dim: int,
        *,
        hidden_dim: int,
        output_dim: int,
        prototypes: int,
        temperature: float,
        epsilon: float,
        frozen_share: float,
        queue_size: int,
        queue_start: float,
    ) -> None:
        super().__init__()
        require_positive(hidden_dim=hidden_dim, output_dim=output_dim, temperature=temperature, epsilon=epsilon)
        require_share(frozen_share=frozen_share, queue_start=queue_start)
        if prototypes < 2 or queue_size < 0:
            raise ValueError(f"prototypes must be >= 2 and queue_size >= 0, got {prototypes} and {queue_size}")
        self.backbone = backbone
        self.projector = SwaVProjectionHead(feature_dim, hidden_dim, output_dim)
        # lightly's SwaVPrototypes has biases, which the paper's prototypes have not.
        self.prototypes = nn.Linear(output_dim, prototypes, bias=False)
        self.embedding_dim = output_dim
        self.frozen_share, self.queue_start = frozen_share, queue_start
        self.frozen = KnownInteger(frozen_share > 0)
        self.queueing = KnownInteger(queue_start <= 0)
        self.queued = KnownInteger(0)
        self.register_buffer("queue", torch.zeros(2, queue_size, output_dim))
        self.loss = SwaVLoss(temperature=temperature, sinkhorn_epsilon=epsilon)
        self.normalize_prototypes()

    def forward(self, views: Views) -> MethodOutput:
        out, small = embed_crops(self.backbone, self.projector, views)
        with full_precision(out.z1):
            weight = self.prototypes.weight
            # Without a gradient the optimiser leaves them alone: no decay, no momentum.
            weight = weight.detach() if self.frozen.get() else weight
            large = [normalize(out.z1), normalize(out.z2)]
            loss = self.loss(
                [linear(z, weight) for z in large],
                [linear(normalize(z), weight) for z in small],
                self.beside(large, weight),
            )
        if self.queueing.get():
            self.enqueue(torch.stack([gather_rows(z.detach()) for z in large]))
        return MethodOutput(loss.squeeze(0), *out)

    @torch.no_grad()
    def beside(self, large: list[Tensor], weight: Tensor) -> list[Tensor] | None:
        """What the codes of both views are balanced with besides their own rows: other processes' rows, the queue."""
        others = [without_own(gather_rows(z)) for z in large] if world_size() > 1 else None
        past = list(self.queue) if self.queue_is_used() else None
        if others is None or past is None:
            found = others or past
        else:
            found = [torch.cat(both) for both in zip(others, past, strict=True)]
        return None if found is None else [linear(z, weight) for z in found]

    def queue_is_used(self) -> bool:
        """Whether the queue is full; it is never where it has no place for a row."""
        return self.queued.get() >= self.queue.shape[1] > 0

    def enqueue(self, embeddings: Tensor) -> None:
        """Put both views' `embeddings` (2, B, P) before the queue; the oldest rows fall out."""
        size = self.queue.shape[1]
        self.queue.copy_(torch.cat([embeddings, self.queue], dim=1)[:, :size])
        self.queued.set(min(self.queued.get() + embeddings.shape[1], size))

    @torch.no_grad()
    def normalize_prototypes(self) -> None:
        self.prototypes.weight.copy_(normalize(self.prototypes.weight))

    def after_step(self, progress: float) -> None:
        if not self.frozen.get():
            self.normalize_prototypes()
        self.frozen.set(progress < self.frozen_share)
        self.queueing.set(progress >= self.queue_start)


def without_own(gathered: Tensor) -> Tensor:
    """The rows that other processes brought."""
    own = own_rows(len(gathered) // world_size())
    return torch.cat([gathered[: own.start], gathered[own.stop :]])
