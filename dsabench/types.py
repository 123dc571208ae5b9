"""The things that flow between the parts: batches of views, what a method returns, features, scores."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

from torch import Tensor, nn

from dsabench.registry import Scalar


class Views(NamedTuple):
    """A batch for pretraining. It has no place for a label, so no label-free method can read one.

    `anchor`, `view1`, `view2` are (B, C, H, W) float32, normalised; `locals` holds the small crops of
    multi-crop, each (B, C, h, w); `index` (B,) int64 are the positions in the training split.
    """

    anchor: Tensor
    view1: Tensor
    view2: Tensor
    index: Tensor  # type: ignore[assignment]  # the field's name wins over tuple.index
    locals: tuple[Tensor, ...] = ()


class LabelledViews(NamedTuple):
    """`Views` and `labels` (B,) int64, for the entries alone that declare `needs_labels`."""

    anchor: Tensor
    view1: Tensor
    view2: Tensor
    index: Tensor  # type: ignore[assignment]  # the field's name wins over tuple.index
    labels: Tensor
    locals: tuple[Tensor, ...] = ()


class MethodOutput(NamedTuple):
    """What every method returns: `loss` (), backbone features `h1`, `h2` (B, D), embeddings `z1`, `z2` (B, P).

    The embeddings are the online projector's output, unnormalised, before any predictor or prototypes.
    """

    loss: Tensor
    h1: Tensor
    h2: Tensor
    z1: Tensor
    z2: Tensor


class Features(NamedTuple):
    """Frozen features `x` (N, D) float32, raw, and their classes `y` (N,) int64, both on the CPU."""

    x: Tensor
    y: Tensor


class Score(NamedTuple):
    """One value of a probe: the metric's name, its value, its parameters, and which direction is better."""

    metric: str
    value: float
    params: Mapping[str, object]
    higher_is_better: bool | None = True


class Method(nn.Module):
    """What the loop needs of an SSL method: `forward(views) -> MethodOutput`, and these facts.

    `backbone` maps images to (B, D), `projector` maps those to the embeddings (B, `embedding_dim`); a method is
    built as `Method(backbone, feature_dim, **options)`, one that `needs_labels` with `num_classes=` too.
    """

    needs_labels: ClassVar[bool] = False
    trainable: ClassVar[bool] = True
    backbone: nn.Module
    projector: nn.Module
    embedding_dim: int

    def after_step(self, progress: float) -> None:
        """Called after each optimiser step with the share of training done, in [0, 1]: the place for teachers."""


class RegularizerFacts(NamedTuple):
    """What a row says of a regularizer: where its similarity comes from, and whether labels are in it.

    `prior` is `none` where nothing is taken for similar; `labels_used` is `none`, `prior` (an encoder that was trained
    with labels) or `training`.
    """

    prior: str
    labels_used: str


class Regularizer(nn.Module):
    """What the loop needs of a regularizer: `forward(output, views, progress) -> {term: ()}`, and these facts.

    Built as `Regularizer(encoder, feature_dim, embedding_dim, **options)`, with `num_images=` of the training split
    too where its constructor takes that. Terms are weighted already and are added to the loss. After a forward pass
    `diagnostics` holds scalars for the log, the same each time, and `similar_pairs` (B, B) bool, if not None, the
    pairs of the batch that were taken for similar.
    """

    smallest_batch: ClassVar[int] = 1
    needs_labels: bool = False
    diagnostics: dict[str, Tensor]
    similar_pairs: Tensor | None

    def __init__(self) -> None:
        super().__init__()
        self.diagnostics = {}
        self.similar_pairs = None

    @classmethod
    def facts(cls, options: Mapping[str, Scalar]) -> RegularizerFacts:
        """The facts of a regularizer with these options, all of them; raises ValueError for one that cannot be."""
        return RegularizerFacts("none", "none")

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
