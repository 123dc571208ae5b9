"""What the entries of this folder implement: a regularizer, and the facts that a row says of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, NamedTuple

from torch import Tensor, nn

from dsabench.registry import Scalar


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
    pairs of the batch that were taken for similar. A batch has at least `smallest_batch` images.
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
