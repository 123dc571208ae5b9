"""W-MSE: Whitening for Self-Supervised Representation Learning (Ermolov et al. 2020, arXiv 2007.06346)."""

from __future__ import annotations

import torch
from lightly.loss.wmse_loss import norm_mse_loss
from lightly.models.modules.heads import ProjectionHead
from torch import Tensor, nn

from dsabench.checks import require_positive
from dsabench.errors import UsageError
from dsabench.gather import gather_rows
from dsabench.methods.base import Method, Recipe, tiny
from dsabench.methods.embedding import embed, full_precision
from dsabench.transfer import send
from dsabench.types import MethodOutput, Views

RECIPES = {
    "tiny": tiny(hidden_dim=128, output_dim=32, whitening_size=64, slicings=4),
    # solo-learn's CIFAR recipe, but for its views: crops from a fifth of the area, no blur.
    "small": Recipe(
        options={"hidden_dim": 1024, "output_dim": 64, "whitening_size": 128, "slicings": 1},
        optimizer={"optimizer": "adam", "lr": 2e-3, "weight_decay": 1e-6, "warmup_epochs": 10, "scale_lr": True},
        views="symmetric",
        epochs=200,
    ),
}


def whiten(z: Tensor) -> Tensor:
    """`z` (..., N, D) with mean 0 and covariance I over N, by the Cholesky factor of its covariance (section 3).

    A covariance that has no factor gives NaN and not an exception, so that the run fails as for any loss.
    """
    centred = z - z.mean(-2, keepdim=True)
    covariance = centred.mT @ centred / (z.shape[-2] - 1)
    # The checked version waits for the device.
    factor, info = torch.linalg.cholesky_ex(covariance)
    factor = factor.masked_fill((info != 0)[..., None, None], torch.nan)
    white: Tensor = torch.linalg.solve_triangular(factor, centred.mT, upper=False).mT
    return white


class WMSE(Method):
    """The squared distance between two views' normalised embeddings, whitened over slices of the batch.

    A slice holds `whitening_size` images, drawn anew at every step, and `slicings` such partitions are averaged
    (section 3); where that does not divide the batch, slices are as equal as can be and none is smaller.
    """

    def __init__(
        self,
        backbone: nn.Module,
        feature_dim: int,
        *,
        hidden_dim: int,
        output_dim: int,
        whitening_size: int,
        slicings: int,
    ) -> None:
        super().__init__()
        require_positive(hidden_dim=hidden_dim, output_dim=output_dim, slicings=slicings)
        if whitening_size < 2 * output_dim:
            raise ValueError(f"whitening_size must be at least twice output_dim ({output_dim}), got {whitening_size}")
        self.backbone = backbone
        self.projector = ProjectionHead(
            [
                (feature_dim, hidden_dim, nn.BatchNorm1d(hidden_dim), nn.ReLU()),
                (hidden_dim, output_dim, None, None),
            ]
        )
        self.embedding_dim = output_dim
        self.whitening_size = whitening_size
        self.slicings = slicings

    def forward(self, views: Views) -> MethodOutput:
        out = embed(self.backbone, self.projector, views)
        with full_precision(out.z1):
            return MethodOutput(self.loss(torch.stack([gather_rows(out.z1), gather_rows(out.z2)])), *out)

    def loss(self, z: Tensor) -> Tensor:
        """The loss of both views' embeddings (2, B, D), each view whitened by itself, both sliced alike."""
        batch = z.shape[1]
        if batch < self.whitening_size:
            raise UsageError(
                f"whitening_size {self.whitening_size} does not fit into a batch of {batch} images; "
                "choose a larger --batch-size, or a smaller whitening_size and output_dim"
            )
        losses = []
        for _ in range(self.slicings):
            order = send(torch.randperm(batch), z.device)
            slices = [whiten(z[:, index]) for index in order.tensor_split(batch // self.whitening_size)]
            losses.append(norm_mse_loss(*torch.cat(slices, dim=1)))
        return torch.stack(losses).mean()
