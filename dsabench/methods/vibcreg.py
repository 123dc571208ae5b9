"""VIbCReg: Variance-Invariance-better-Covariance Regularization (Lee and Aune 2021, arXiv 2109.00783)."""

from __future__ import annotations

import torch
from lightly.loss.vicreg_loss import invariance_loss, variance_loss
from lightly.models.modules.heads import ProjectionHead
from torch import Tensor, nn
from torch.nn import functional

from dsabench.checks import require_positive
from dsabench.gather import gather_rows
from dsabench.methods.base import Method, Recipe, tiny
from dsabench.methods.embedding import embed, full_precision
from dsabench.types import MethodOutput, Views, widened

RECIPES = {
    "tiny": tiny(hidden_dim=128, output_dim=128, norm_groups=4, sim_weight=25.0, var_weight=25.0, cov_weight=200.0),
    # solo-learn's CIFAR recipe, but for its views: crops from a fifth of the area and solarize .1 in both.
    "small": Recipe(
        options={
            "hidden_dim": 2048,
            "output_dim": 2048,
            "norm_groups": 64,
            "sim_weight": 25.0,
            "var_weight": 25.0,
            "cov_weight": 200.0,
        },
        optimizer={"optimizer": "lars", "lr": 0.3, "weight_decay": 1e-4, "warmup_epochs": 10, "scale_lr": True},
        views="asymmetric",
        epochs=200,
    ),
}


def correlation_loss(z: Tensor) -> Tensor:
    """The mean square (over all D x D) of the correlations between different dimensions of `z` (N, D)."""
    columns = functional.normalize(z - z.mean(0), dim=0)
    correlation = columns.T @ columns
    return (correlation - torch.diag(correlation.diagonal())).square().mean()


class IterNorm(nn.Module):
    """Whitens groups of dimensions by Newton's iterations (Huang et al. 2019, arXiv 1904.03441, algorithm 1).

    (B, D) to float32 (B, D); `groups` must divide D. In eval mode the running mean and whitening matrix are used.
    """

    ITERATIONS = 5
    EPS = 1e-5
    MOMENTUM = 0.1
    mean: Tensor
    whitening: Tensor

    def __init__(self, dim: int, groups: int) -> None:
        super().__init__()
        self.groups = groups
        self.weight = nn.Parameter(torch.ones(dim))
        self.bias = nn.Parameter(torch.zeros(dim))
        self.register_buffer("mean", torch.zeros(groups, 1, dim // groups))
        self.register_buffer("whitening", torch.eye(dim // groups).repeat(groups, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        with full_precision(x):
            grouped = self.grouped(x)
            mean, whitening = (
                self.statistics(self.grouped(gather_rows(x))) if self.training else (self.mean, self.whitening)
            )
            white: Tensor = ((grouped - mean) @ whitening).transpose(0, 1).flatten(1)
            return white * self.weight + self.bias

    def grouped(self, x: Tensor) -> Tensor:
        return widened(x).view(len(x), self.groups, -1).transpose(0, 1)

    def statistics(self, grouped: Tensor) -> tuple[Tensor, Tensor]:
        """Mean (G, 1, C) and whitening matrix (G, C, C) of a batch (G, B, C); the running ones follow them."""
        mean = grouped.mean(1, keepdim=True)
        centred = grouped - mean
        eye = torch.eye(grouped.shape[2], dtype=grouped.dtype, device=grouped.device)
        covariance = centred.transpose(1, 2) @ centred / grouped.shape[1] + self.EPS * eye
        trace = covariance.diagonal(dim1=1, dim2=2).sum(1)[:, None, None]
        # Newton's iterations converge for eigenvalues up to 1, which a trace of 1 ensures.
        unit, root = covariance / trace, eye
        for _ in range(self.ITERATIONS):
            root = 1.5 * root - 0.5 * root @ root @ root @ unit
        whitening = root / trace.sqrt()
        with torch.no_grad():
            self.mean.lerp_(mean, self.MOMENTUM)
            self.whitening.lerp_(whitening, self.MOMENTUM)
        return mean, whitening


class VIbCReg(Method):
    """VICReg with correlations in the place of covariances, and a projector that ends with IterNorm.

    The terms are those of VICReg, the variance summed over both views, but `cov_weight` is for the mean square of the
    off-diagonal correlations, so that it does not depend on the scale of the embeddings nor on their dimension.
    """

    def __init__(
        self,
        backbone: nn.Module,
        feature_dim: int,
        *,
        hidden_dim: int,
        output_dim: int,
        norm_groups: int,
        sim_weight: float,
        var_weight: float,
        cov_weight: float,
    ) -> None:
        super().__init__()
        require_positive(hidden_dim=hidden_dim, output_dim=output_dim, norm_groups=norm_groups)
        if output_dim % norm_groups:
            raise ValueError(f"norm_groups must divide output_dim, got {norm_groups} and {output_dim}")
        if min(sim_weight, var_weight, cov_weight) < 0:
            raise ValueError("sim_weight, var_weight and cov_weight must be >= 0")
        self.backbone = backbone
        head = ProjectionHead(
            [
                (feature_dim, hidden_dim, nn.BatchNorm1d(hidden_dim), nn.ReLU()),
                (hidden_dim, hidden_dim, nn.BatchNorm1d(hidden_dim), nn.ReLU()),
                (hidden_dim, output_dim, None, None),
            ]
        )
        self.projector = nn.Sequential(head, IterNorm(output_dim, norm_groups))
        self.embedding_dim = output_dim
        self.sim_weight, self.var_weight, self.cov_weight = sim_weight, var_weight, cov_weight

    def forward(self, views: Views) -> MethodOutput:
        out = embed(self.backbone, self.projector, views)
        with full_precision(out.z1):
            return MethodOutput(self.loss(out.z1, out.z2), *out)

    def loss(self, z1: Tensor, z2: Tensor) -> Tensor:
        """The weighted sum of the three terms; variance and correlation are those of the global batch."""
        invariance = invariance_loss(z1, z2)
        z1, z2 = gather_rows(z1), gather_rows(z2)
        variance = variance_loss(z1) + variance_loss(z2)
        correlation = correlation_loss(z1) + correlation_loss(z2)
        total: Tensor = self.sim_weight * invariance + self.var_weight * variance + self.cov_weight * correlation
        return total
