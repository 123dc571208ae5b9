"""NNCLR: With a Little Help from My Friends (Dwibedi et al. 2021, arXiv 2104.14548)."""

from __future__ import annotations

import torch
from lightly.models.modules import NNCLRPredictionHead, NNCLRProjectionHead, NNMemoryBankModule
from torch import nn
from torch.nn import functional

from dsabench.checks import require_positive
from dsabench.methods.base import Method, Recipe, tiny
from dsabench.methods.embedding import embed, full_precision
from dsabench.methods.info_nce import info_nce
from dsabench.types import MethodOutput, Views, widened

RECIPES = {
    "tiny": tiny(hidden_dim=128, output_dim=64, predictor_dim=128, temperature=0.2, queue_size=1024),
    # solo-learn's CIFAR recipe.
    "small": Recipe(
        options={
            "hidden_dim": 2048,
            "output_dim": 256,
            "predictor_dim": 4096,
            "temperature": 0.2,
            "queue_size": 65536,
        },
        optimizer={"optimizer": "lars", "lr": 0.4, "weight_decay": 1e-5, "warmup_epochs": 10, "scale_lr": True},
        views="asymmetric",
        epochs=200,
    ),
}


class NNCLR(Method):
    """The nearest neighbour of one view in a queue finds the prediction of the other view in the batch (eq. 3, 4).

    Both directions, averaged. The queue holds the first view's normalised embeddings of earlier steps, never of the
    present one; neighbours have no gradient.
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
        queue_size: int,
    ) -> None:
        super().__init__()
        require_positive(hidden_dim=hidden_dim, output_dim=output_dim, predictor_dim=predictor_dim)
        require_positive(temperature=temperature, queue_size=queue_size)
        self.backbone = backbone
        self.projector = NNCLRProjectionHead(feature_dim, hidden_dim, output_dim)
        self.predictor = NNCLRPredictionHead(output_dim, predictor_dim, output_dim)
        self.queue = NNMemoryBankModule(size=(queue_size, output_dim))
        # Its constructor does not pass this on; without it every process would have a queue of its own.
        self.queue.gather_distributed = True
        self.embedding_dim = output_dim
        self.temperature = temperature

    def forward(self, views: Views) -> MethodOutput:
        out = embed(self.backbone, self.projector, views)
        p1, p2 = widened(self.predictor(torch.cat([out.z1, out.z2]))).chunk(2)
        with full_precision(out.z1):
            # The second view looks first: what the first one leaves in the queue is of the same images.
            neighbour2 = self.queue(functional.normalize(out.z2.detach(), dim=1), update=False)
            neighbour1 = self.queue(functional.normalize(out.z1.detach(), dim=1), update=self.training)
            loss = 0.5 * (info_nce(neighbour1, p2, self.temperature) + info_nce(neighbour2, p1, self.temperature))
        return MethodOutput(loss, *out)
