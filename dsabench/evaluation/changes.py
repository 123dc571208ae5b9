"""Images that changed sides between two arms: right under one and wrong under the other, over paired seeds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor

from dsabench.probes.nearest import nearest

Array = np.ndarray[Any, Any]


class Changes(NamedTuple):
    """`gained`, `lost` (N,): in how many seeds an image became right, or wrong, under the arm."""

    gained: Array
    lost: Array

    def most(self, kind: str, count: int) -> list[int]:
        """The images that did so in the most seeds, the first of equal ones."""
        times: Array = self.gained if kind == "gained" else self.lost
        order = np.argsort(-times, kind="stable")[:count]
        return [int(image) for image in order if times[image] > 0]


def changes(arm: Sequence[Array], against: Sequence[Array]) -> Changes:
    """From which images (N,) bool were right under the arm and under the other, seed by seed."""
    ours, theirs = np.stack(list(arm)), np.stack(list(against))
    return Changes((ours & ~theirs).sum(axis=0), (~ours & theirs).sum(axis=0))


def neighbours(query: Tensor, bank: Tensor, k: int) -> list[int]:
    """Positions in `bank` (N, D) of the k nearest to `query` (D,) by cosine, nearest first."""
    _, positions = next(iter(nearest(query[None], bank, k, "cosine")))
    found: list[int] = positions[0].tolist()
    return found
