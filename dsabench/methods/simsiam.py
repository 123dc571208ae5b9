"""SimSiam: Exploring Simple Siamese Representation Learning (Chen and He 2020, arXiv 2011.10566)."""

from __future__ import annotations

import torch
from lightly.loss import NegativeCosineSimilarity
from lightly.models.modules import SimSiamPredictionHead, SimSiamProjectionHead
from torch import nn

from dsabench.checks import require_positive
from dsabench.methods.base import Method, Recipe, tiny
from dsabench.methods.embedding import embed, full_precision
from dsabench.types import MethodOutput, Views, widened

RECIPES = {
    "tiny": tiny(hidden_dim=128, output_dim=128, predictor_dim=64),
    # solo-learn's CIFAR recipe; the predictor's learning rate decays with the others' here.
    "small": Recipe(
        options={"hidden_dim": 2048, "output_dim": 2048, "predictor_dim": 512},
        optimizer={"optimizer": "sgd", "lr": 0.5, "weight_decay": 1e-5, "warmup_epochs": 10, "scale_lr": True},
        views="weak",
        epochs=200,
    ),
}


class SimSiam(Method):
    """Each view's prediction is drawn to the other view's embedding, through which no gradient flows (eq. 4)."""

    def __init__(
        self, backbone: nn.Module, feature_dim: int, *, hidden_dim: int, output_dim: int, predictor_dim: int
    ) -> None:
        super().__init__()
        require_positive(hidden_dim=hidden_dim, output_dim=output_dim, predictor_dim=predictor_dim)
        self.backbone = backbone
        self.projector = SimSiamProjectionHead(feature_dim, hidden_dim, output_dim)
        self.predictor = SimSiamPredictionHead(output_dim, predictor_dim, output_dim)
        self.embedding_dim = output_dim
        self.loss = NegativeCosineSimilarity()

    def forward(self, views: Views) -> MethodOutput:
        out = embed(self.backbone, self.projector, views)
        p1, p2 = widened(self.predictor(torch.cat([out.z1, out.z2]))).chunk(2)
        with full_precision(out.z1):
            loss = 0.5 * (self.loss(p1, out.z2.detach()) + self.loss(p2, out.z1.detach()))
        return MethodOutput(loss, *out)
