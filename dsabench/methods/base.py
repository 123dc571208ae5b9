"""What the entries of this folder implement: a method, and its recipes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from dsabench.registry import Scalar


class Method(nn.Module):
    """What the loop needs of an SSL method: `forward(views) -> MethodOutput`, and these facts.

    `backbone` maps images to (B, D), `projector` maps those to the embeddings (B, `embedding_dim`); a method is
    built as `Method(backbone, feature_dim, **options)`, one that `needs_labels` with `num_classes=` too, and with
    `num_images=` of the training split where its constructor takes that. One that `rests` has parameters without a
    gradient in some of its steps.
    """

    needs_labels: ClassVar[bool] = False
    trainable: ClassVar[bool] = True
    rests: ClassVar[bool] = False
    backbone: nn.Module
    projector: nn.Module
    embedding_dim: int

    def after_step(self, progress: float) -> None:
        """Called after each optimiser step with the share of training done, in [0, 1]: the place for teachers."""


@dataclass(frozen=True)
class Recipe:
    """A method's defaults at one image scale: constructor options, optimisation, and the name of its view policy."""

    options: Mapping[str, Scalar]
    optimizer: Mapping[str, Scalar]
    views: str
    epochs: int
    batch_size: int = 256


def tiny(*, views: str = "digits", **options: Scalar) -> Recipe:
    """The recipe of a method with these constructor options for images below 32 px, where all are trained alike."""
    optimizer: dict[str, Scalar] = {"optimizer": "adamw", "lr": 2e-3, "weight_decay": 1e-4}
    return Recipe(options=options, optimizer=optimizer, views=views, epochs=60)
