"""What the entries of this folder implement: a regularizer, and the facts that a row says of it."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import ClassVar, NamedTuple, Self

import torch
from torch import Tensor, nn

from dsabench.adjuster import Adjuster
from dsabench.gather import gather_rows
from dsabench.registry import Scalar
from dsabench.regularizers import VIEWS
from dsabench.types import MethodOutput


class RegularizerFacts(NamedTuple):
    """What a row says of a regularizer: where its similarity comes from, and whether labels are in it.

    `prior` is `none` where nothing is taken for similar; `labels_used` is `none`, `prior` (an encoder that was trained
    with labels) or `training`.
    """

    prior: str
    labels_used: str


def gradient_norm(value: Tensor, at: Sequence[Tensor]) -> Tensor:
    """The norm () of the gradient of `value` () at all of `at` together, of all processes; 0 where none flows."""
    where = [tensor for tensor in at if tensor.requires_grad]
    grads = torch.autograd.grad(value, where, retain_graph=True, allow_unused=True) if where else ()
    squares = [grad.square().sum() for grad in grads if grad is not None]
    square = torch.stack(squares).sum() if squares else torch.zeros_like(value)
    return gather_rows(square.detach()[None]).sum().sqrt()


class Regularizer(nn.Module):
    """What the loop needs of a regularizer: `forward(output, views, progress) -> {term: ()}`, and these facts.

    Built as `Regularizer(encoder, feature_dim, embedding_dim, **options)`, with `num_images=` of the training split
    too where its constructor takes that. Terms are weighted already and are added to the loss. After a forward pass
    `diagnostics` holds scalars for the log, the same each time, `similar_pairs` (B, N) bool, if not None, the pairs of
    the images at hand and those of the global batch that were taken for similar, and `sample_scores` (N,), if not None,
    how much each image of the global batch counts. A batch has at least `smallest_batch` images. An `adjuster`, if not
    None, is fitted to features of training images after the last step, and those of the run go through it from then on;
    `adjust_by` says whether to features of their views, too.

    `balance` is an option of every regularizer with a term: the weight of a term that reaches the embeddings is then
    how large its gradient is there, relative to the method's, so that one number means the same beside every method
    (see `weigh`). Off, it computes nothing.
    """

    smallest_batch: ClassVar[int] = 1
    needs_labels: bool = False
    diagnostics: dict[str, Tensor]
    similar_pairs: Tensor | None
    sample_scores: Tensor | None
    adjuster: Adjuster | None
    adjust_by: str

    def __new__(cls, *arguments: object, **options: object) -> Self:
        # Python would say that the word is unexpected, and not which one is meant.
        _, *known = inspect.signature(cls.__init__).parameters
        for name in options:
            if name not in known:
                near = get_close_matches(name, known, n=1, cutoff=0.5)
                hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known)}"
                raise TypeError(f"{cls.__name__} has no option {name!r}; {hint}")
        return super().__new__(cls)

    def __init__(self, *, balance: bool = False) -> None:
        super().__init__()
        self.balance = balance
        self.diagnostics = {}
        self.similar_pairs = None
        self.sample_scores = None
        self.adjuster = None
        self.adjust_by = VIEWS

    @classmethod
    def facts(cls, options: Mapping[str, Scalar]) -> RegularizerFacts:
        """The facts of a regularizer with these options, all of them; raises ValueError for one that cannot be."""
        return RegularizerFacts("none", "none")

    def weigh(
        self,
        name: str,
        weight: float,
        term: Tensor,
        output: MethodOutput,
        *,
        by: Tensor | None = None,
        at: Sequence[Tensor] = (),
    ) -> Tensor:
        """`weight` times `term` (); if balanced, scaled so that ||d term / dz|| is `weight` times ||d loss / dz||.

        The norms are of this very step, over both views of the global batch, and the scale has no gradient. A method
        or a term whose gradient does not reach the embeddings has the scale 0. The price is a backward pass from the
        method's loss and one from the term to the embeddings; the backbone takes no part. The scale is logged as
        `NAME_scale`. Where `by` () is given, it is ||d by / dz|| that is made so, and the term has its scale; where
        `at` is, such as the features of both views, it stands for the embeddings.
        """
        if not self.balance:
            return weight * term
        scale = torch.zeros_like(term)
        if weight:
            at = at or (output.z1, output.z2)
            scale = gradient_norm(output.loss, at) / gradient_norm(term if by is None else by, at)
            scale = torch.where(scale.isfinite(), scale, 0.0)
        self.diagnostics[f"{name}_scale"] = scale.detach()
        return weight * scale.detach() * term

    def after_step(self, progress: float) -> None:
        """Called after each optimiser step with the share of training done, in [0, 1]: the place for teachers."""
