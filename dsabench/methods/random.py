"""An untrained backbone at its initialisation: the floor that a comparison measures against."""

from __future__ import annotations

from torch import nn

from dsabench.methods.base import Method, Recipe
from dsabench.types import MethodOutput, Views

RECIPES = {
    "tiny": Recipe(options={}, optimizer={}, views="digits", epochs=0),
    "small": Recipe(options={}, optimizer={}, views="asymmetric", epochs=0),
}


class Random(Method):
    """Never trained, so it has features and no loss."""

    trainable = False

    def __init__(self, backbone: nn.Module, feature_dim: int) -> None:
        super().__init__()
        self.backbone = backbone
        self.projector = nn.Identity()
        self.embedding_dim = feature_dim

    def forward(self, views: Views) -> MethodOutput:
        raise TypeError("the random method is not trained, so it has no forward pass")
