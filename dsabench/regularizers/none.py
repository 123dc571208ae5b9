"""No regularizer: the plain method."""

from __future__ import annotations

from torch import Tensor, nn

from dsabench.regularizers.base import Regularizer
from dsabench.types import LabelledViews, MethodOutput, Views


class NoRegularizer(Regularizer):
    """Adds no term."""

    def __init__(self, encoder: nn.Module, feature_dim: int, embedding_dim: int) -> None:
        super().__init__()

    def forward(self, output: MethodOutput, views: Views | LabelledViews, progress: float) -> dict[str, Tensor]:
        return {}
