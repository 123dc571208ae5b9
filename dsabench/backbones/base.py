"""The one shape that every backbone has."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class Backbone(nn.Module):
    """A network (B, C, H, W) -> (B, `feature_dim`), whichever library it came from.

    `mean` and `std` are what its images were normalised by, per channel, where it comes from a run; else empty.
    """

    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()

    def __init__(self, network: nn.Module, feature_dim: int) -> None:
        super().__init__()
        self.network = network
        self.feature_dim = feature_dim

    def forward(self, images: Tensor) -> Tensor:
        """Features (B, `feature_dim`) of normalised `images` (B, C, H, W)."""
        features: Tensor = self.network(images)
        return features

    def normalise(self, pixels: Tensor) -> Tensor:
        """Pixels (B, C, H, W), uint8 or in [0, 1], as the backbone was trained on them; ValueError without a `mean`."""
        if not self.mean:
            raise ValueError("this backbone comes from no run, so that what its images are normalised by is not known")
        images = pixels if pixels.is_floating_point() else pixels.float().div(255)
        mean, std = (torch.tensor(x, dtype=images.dtype, device=images.device) for x in (self.mean, self.std))
        return (images - mean[:, None, None]) / std[:, None, None]


class AdjustedBackbone(Backbone):
    """A `backbone` whose features go through an `adjuster`, (B, D) -> (B, D)."""

    def __init__(self, backbone: Backbone, adjuster: nn.Module) -> None:
        super().__init__(backbone.network, backbone.feature_dim)
        self.adjuster = adjuster

    def forward(self, images: Tensor) -> Tensor:
        features: Tensor = self.adjuster(super().forward(images))
        return features


@contextmanager
def evaluated(module: nn.Module) -> Iterator[nn.Module]:
    """A module in eval mode for a while; every part of it goes back to the mode that it had."""
    modes = {part: part.training for part in module.modules()}
    try:
        yield module.eval()
    finally:
        for part, training in modes.items():
            part.training = training
