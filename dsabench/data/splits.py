"""Stratified, fixed subsets: the same images for everyone, whatever a run's seed."""

from __future__ import annotations

import torch
from torch import Tensor

from dsabench import rng


def held_out_count(total: int, classes: int, fraction: float) -> int:
    """How many of `total` images are held out: `fraction` of them, but one of every class at least."""
    return max(round(total * fraction), classes)


def stratified(labels: Tensor, count: int, purpose: str, *, leave: int) -> Tensor:
    """Positions, ascending, of `count` of the `labels` (N,) int64, every class in proportion.

    Every class gives at least one and keeps at least `leave`, so `count` must lie between the number of classes and
    N - `leave` times that number. `purpose` names the draw. A smaller count gives, within rounding, a subset.
    """
    sizes = torch.bincount(labels)
    shares = _shares(sizes, count, leave)
    order = torch.randperm(len(labels), generator=rng.generator("split", purpose))
    by_class = order[torch.argsort(labels[order], stable=True)]
    starts = sizes.cumsum(0) - sizes
    rank_in_class = torch.arange(len(labels)) - starts[labels[by_class]]
    return by_class[rank_in_class < shares[labels[by_class]]].sort().values


def _shares(sizes: Tensor, count: int, leave: int) -> Tensor:
    """How many of each class: proportional, by largest remainders, between 1 and its size less `leave`."""
    quota = sizes.double() * (count / int(sizes.sum()))
    shares = quota.floor().long().clamp_min(1).minimum(sizes - leave)
    while (missing := count - int(shares.sum())) != 0:
        owed = (quota - shares) if missing > 0 else (shares - quota)
        free = (shares < sizes - leave) if missing > 0 else (shares > 1)
        shares[owed.where(free, -torch.inf).argmax()] += 1 if missing > 0 else -1
    return shares
