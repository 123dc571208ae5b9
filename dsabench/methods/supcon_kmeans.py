"""SupCon (Khosla et al. 2020, arXiv 2004.11362) on pseudo-labels: clusters of the run's own features, as DeepCluster
(Caron et al. 2018, arXiv 1807.05520) finds them. No label is read."""

from __future__ import annotations

import torch
from lightly.models.modules import SimCLRProjectionHead
from torch import Tensor, nn
from torch.nn import functional

from dsabench.checks import require, require_positive
from dsabench.gather import gather_rows
from dsabench.methods.base import Method, Recipe
from dsabench.methods.embedding import Embedded, embed, full_precision
from dsabench.methods.integer import KnownInteger
from dsabench.methods.kmeans import spherical_kmeans
from dsabench.methods.supcon_loss import supcon_loss
from dsabench.types import MethodOutput, Views

RECIPES = {
    "tiny": Recipe(
        options={"hidden_dim": 128, "output_dim": 64, "temperature": 0.5, "clusters": 64, "every": 1.0},
        optimizer={"optimizer": "adamw", "lr": 2e-3, "weight_decay": 1e-4},
        views="digits",
        epochs=60,
    ),
    # The heads and optimisation of solo-learn's SimCLR, which it is until the first clustering; ten clusters for each
    # of ten classes, the ratio that DeepCluster found best on ImageNet.
    "small": Recipe(
        options={"hidden_dim": 2048, "output_dim": 256, "temperature": 0.2, "clusters": 100, "every": 1.0},
        optimizer={"optimizer": "lars", "lr": 0.4, "weight_decay": 1e-4, "warmup_epochs": 10, "scale_lr": True},
        views="asymmetric",
        epochs=200,
    ),
}


class SupConKMeans(Method):
    """Each view is drawn to all others of its cluster against the rest of the global batch (2004.11362, eq. 2).

    A bank keeps of every training image the mean of both views' unit features, of the last time it was seen. Whenever
    `every` times the number of training images has passed, the images in the bank are clustered anew, by k-means on the
    sphere. An image that was not seen before the last clustering, and every one before the first, is a class of its
    own: the method begins as SimCLR.
    """

    bank: Tensor
    labels: Tensor

    def __init__(
        self,
        backbone: nn.Module,
        feature_dim: int,
        *,
        hidden_dim: int,
        output_dim: int,
        temperature: float,
        clusters: int,
        every: float,
        num_images: int,
    ) -> None:
        super().__init__()
        require_positive(hidden_dim=hidden_dim, output_dim=output_dim, temperature=temperature, every=every)
        require(2 <= clusters <= num_images, f"clusters must lie in 2 to {num_images} training images, got {clusters}")
        self.backbone = backbone
        self.projector = SimCLRProjectionHead(feature_dim, hidden_dim, output_dim)
        self.embedding_dim = output_dim
        self.temperature, self.clusters = temperature, clusters
        self.interval = every * num_images
        self.passed = KnownInteger(0)
        self.register_buffer("bank", torch.zeros(num_images, feature_dim))
        self.register_buffer("labels", clusters + torch.arange(num_images))

    def forward(self, views: Views) -> MethodOutput:
        # Here and not after the step, because only here the draws are named by seed and step.
        if self.training and self.passed.get() >= self.interval:
            self.recluster()
        out = embed(self.backbone, self.projector, views)
        with full_precision(out.z1):
            labels = self.labels[views.index].repeat(2)
            loss = supcon_loss(torch.cat([out.z1, out.z2]), labels, self.temperature)
        if self.training:
            self.remember(views.index, out)
        return MethodOutput(loss, *out)

    @torch.no_grad()
    def remember(self, index: Tensor, out: Embedded) -> None:
        """Put the features of the global batch in the places of their images, `index` (B,)."""
        index = gather_rows(index)
        features = 0.5 * (functional.normalize(out.h1, dim=1) + functional.normalize(out.h2, dim=1))
        self.bank[index] = gather_rows(features).to(self.bank.dtype)
        self.passed.set(self.passed.get() + len(index))

    @torch.no_grad()
    def recluster(self) -> None:
        """Give every image in the bank the number of its cluster."""
        seen = self.bank.any(dim=1).nonzero().flatten()
        self.labels[seen] = spherical_kmeans(self.bank[seen], min(self.clusters, len(seen)))
        self.passed.set(0)
