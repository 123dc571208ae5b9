"""MoCo v2: Improved Baselines with Momentum Contrastive Learning (Chen et al. 2020, arXiv 2003.04297; 1911.05722)."""

from __future__ import annotations

import torch
from lightly.loss import NTXentLoss
from lightly.models.modules import MoCoProjectionHead
from lightly.models.modules.memory_bank import MemoryBankModule
from torch import Tensor, nn

from dsabench.checks import require_positive, require_share
from dsabench.gather import gather_rows, rank, world_size
from dsabench.methods.base import Method, Recipe, tiny
from dsabench.methods.embedding import embed, full_precision
from dsabench.teachers import cosine_momentum, make_teacher, move_teachers
from dsabench.transfer import send
from dsabench.types import MethodOutput, Views, widened

RECIPES = {
    "tiny": tiny(
        hidden_dim=128, output_dim=64, temperature=0.5, queue_size=1024, momentum=0.9, final_momentum=0.9, key_splits=4
    ),
    # solo-learn's CIFAR recipe. It has a queue for each view where this has one for both; the 8 splits are those of
    # the MoCo authors' own CIFAR demonstration.
    "small": Recipe(
        options={
            "hidden_dim": 2048,
            "output_dim": 256,
            "temperature": 0.2,
            "queue_size": 32768,
            "momentum": 0.99,
            "final_momentum": 0.999,
            "key_splits": 8,
        },
        optimizer={"optimizer": "sgd", "lr": 0.3, "weight_decay": 1e-4, "warmup_epochs": 10, "scale_lr": True},
        views="weak",
        epochs=200,
    ),
}


class KeyQueue(MemoryBankModule):  # type: ignore[misc]  # lightly is not typed
    """lightly's queue of keys, which takes those of the global batch in the order of one process: view by view."""

    def _dequeue_and_enqueue(self, batch: Tensor) -> None:
        super()._dequeue_and_enqueue(torch.cat([gather_rows(view.detach()) for view in batch.chunk(2)]))


class MoCoV2(Method):
    """Each view finds the EMA teacher's key of the other view among a queue of earlier keys (1911.05722, eq. 1).

    Symmetric, as the MoCo authors do it on CIFAR: both views are queries, and the keys of both go to the queue, the
    second view's first. The published shuffling of batch norm across GPUs has this counterpart in one process: the
    keys are computed from a shuffled batch in `key_splits` parts, each normalised by itself, so that batch statistics
    do not tell which key belongs to which query. Of keys that do not fit between the place reached in the queue and its
    end, lightly's queue drops the rest. The teacher's momentum goes from `momentum` to `final_momentum`.
    """

    def __init__(
        self,
        backbone: nn.Module,
        feature_dim: int,
        *,
        hidden_dim: int,
        output_dim: int,
        temperature: float,
        queue_size: int,
        momentum: float,
        final_momentum: float,
        key_splits: int,
    ) -> None:
        super().__init__()
        require_positive(hidden_dim=hidden_dim, output_dim=output_dim, temperature=temperature)
        require_positive(queue_size=queue_size, key_splits=key_splits)
        require_share(momentum=momentum, final_momentum=final_momentum)
        self.backbone = backbone
        self.projector = MoCoProjectionHead(feature_dim, hidden_dim, output_dim)
        self.teacher_backbone = make_teacher(self.backbone)
        self.teacher_projector = make_teacher(self.projector)
        self.embedding_dim = output_dim
        self.momentum = momentum
        self.final_momentum = final_momentum
        self.key_splits = key_splits
        self.loss = NTXentLoss(temperature=temperature)
        self.loss.memory_bank = KeyQueue((queue_size, output_dim))

    def forward(self, views: Views) -> MethodOutput:
        out = embed(self.backbone, self.projector, views)
        k1, k2 = self.keys(torch.cat([views.view1, views.view2])).chunk(2)
        with full_precision(out.z1):
            # In one call, or the second view's queries would find the first call's keys of their own images.
            loss = self.loss(torch.cat([out.z1, out.z2]), torch.cat([k2, k1]))
        return MethodOutput(loss, *out)

    @torch.no_grad()
    def keys(self, images: Tensor) -> Tensor:
        """The teacher's embeddings (N, P), in float32 and in the order of the images (N, C, H, W)."""
        own, processes = len(images), world_size()
        # The places of this process's images among those of all: the first views of the global batch, then the second.
        place = torch.arange(own).view(2, -1) + torch.tensor([[rank()], [rank() + processes - 1]]) * (own // 2)
        here = torch.full((own * processes,), -1).scatter_(0, place.flatten(), torch.arange(own))
        order = here[torch.randperm(own * processes)]
        # One image alone has no batch statistics.
        parts = order.chunk(max(1, min(self.key_splits, len(order) // 2)))
        shares = [images[send(part[part >= 0], images.device)] for part in parts]
        keys = [self.teacher_projector(self.teacher_backbone(share)) for share in shares]
        return widened(torch.cat(keys)[send(order[order >= 0].argsort(), images.device)])

    def after_step(self, progress: float) -> None:
        move_teachers(self, cosine_momentum(self.momentum, self.final_momentum, progress))
