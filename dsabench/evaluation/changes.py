"""Images that changed sides between two arms: right under one and wrong under the other, over paired seeds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import Tensor

from dsabench.probes.nearest import nearest

Array = np.ndarray[Any, Any]


def changed(arm: Sequence[Array], against: Sequence[Array]) -> tuple[Array, Array]:
    """(gained, lost), each (R, N) bool: the images that are right under the arm alone, or under the other alone.

    From which images (N,) bool were right, for each of R paired seeds.
    """
    ours, theirs = np.stack(list(arm)), np.stack(list(against))
    return ours & ~theirs, ~ours & theirs


def most_changed(times: Array, count: int) -> list[tuple[int, int, int]]:
    """(image, how many of the R seeds, the first of them) of (R, N) bool: those of the most seeds, then in order."""
    totals = times.sum(axis=0)
    order = np.argsort(-totals, kind="stable")[:count]
    return [(int(image), int(totals[image]), int(times[:, image].argmax())) for image in order if totals[image]]


def neighbours(query: Tensor, bank: Tensor, k: int) -> list[int]:
    """Positions in `bank` (N, D) of the k nearest to `query` (D,) by cosine, nearest first."""
    _, positions = next(iter(nearest(query[None], bank, k, "cosine")))
    found: list[int] = positions[0].tolist()
    return found
