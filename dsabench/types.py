"""The things that flow between the parts: batches of views, what a method returns, features, scores."""

from __future__ import annotations

from collections.abc import Mapping
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
