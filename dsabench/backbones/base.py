"""The one shape that every backbone has."""

from __future__ import annotations

from torch import Tensor, nn


class Backbone(nn.Module):
    """A network (B, C, H, W) -> (B, `feature_dim`), whichever library it came from."""

    def __init__(self, network: nn.Module, feature_dim: int) -> None:
        super().__init__()
        self.network = network
        self.feature_dim = feature_dim

    def forward(self, images: Tensor) -> Tensor:
        """Features (B, `feature_dim`) of normalised `images` (B, C, H, W)."""
        features: Tensor = self.network(images)
        return features
