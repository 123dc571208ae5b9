"""The things that flow between the parts: batches of views, what a method returns, features, scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor


class Views(NamedTuple):
    """A batch for pretraining. It has no place for a label, so no label-free method can read one.

    `anchor` (un-augmented), `view1`, `view2` are (B, C, H, W) float32, normalised; `locals` holds the small crops of
    multi-crop, each (B, C, h, w); `index` (B,) int64 are the positions in the training split, (0,) where nobody asks.
    """

    anchor: Tensor
    view1: Tensor
    view2: Tensor
    index: Tensor = torch.empty(0, dtype=torch.int64)  # type: ignore[assignment]  # wins over tuple.index
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


class Answer(NamedTuple):
    """What a probe says of every image: `predicted` (R, N) int64, the classes as the data set numbers them, in R draws
    (1 where nothing is drawn), and the parameters that its accuracy stands under."""

    params: Mapping[str, object]
    predicted: Tensor


class ProbeResult(NamedTuple):
    """What a probe returns: its answers, which accuracies derive from, and the values that do not derive from them."""

    scores: Sequence[Score] = ()
    answers: Sequence[Answer] = ()


def widened(x: Tensor) -> Tensor:
    """`x` in float32 at least: what autocast narrowed is widened, and float64 stays."""
    return x if x.dtype == torch.float64 else x.float()
