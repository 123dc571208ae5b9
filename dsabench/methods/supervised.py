"""Supervised learning with the same views as the SSL methods: the ceiling that a comparison measures against."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from dsabench.checks import require_share
from dsabench.methods.base import Method, Recipe, tiny
from dsabench.methods.embedding import embed, full_precision
from dsabench.types import LabelledViews, MethodOutput

RECIPES = {
    "tiny": tiny(label_smoothing=0.0),
    "small": Recipe(
        options={"label_smoothing": 0.0},
        optimizer={"optimizer": "sgd", "lr": 0.1, "weight_decay": 5e-4, "warmup_epochs": 10, "scale_lr": True},
        views="asymmetric",
        epochs=200,
    ),
}


class Supervised(Method):
    """Cross-entropy of a linear classifier on the backbone's features, averaged over both views.

    There is no projector: the embeddings are the features.
    """

    needs_labels = True

    def __init__(self, backbone: nn.Module, feature_dim: int, *, num_classes: int, label_smoothing: float) -> None:
        super().__init__()
        require_share(label_smoothing=label_smoothing)
        self.backbone = backbone
        self.projector = nn.Identity()
        self.classifier = nn.Linear(feature_dim, num_classes)
        self.embedding_dim = feature_dim
        self.label_smoothing = label_smoothing

    def forward(self, views: LabelledViews) -> MethodOutput:
        out = embed(self.backbone, self.projector, views)
        with full_precision(out.z1):
            logits = self.classifier(torch.cat([out.z1, out.z2]))
            # The mean over 2B rows is the mean of both views' losses.
            loss = functional.cross_entropy(logits, views.labels.repeat(2), label_smoothing=self.label_smoothing)
        return MethodOutput(loss, *out)
