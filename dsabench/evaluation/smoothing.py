"""Post-hoc averaging of features with their nearest training neighbours: what aggregation gives without training."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import normalize

from dsabench.probes.nearest import nearest
from dsabench.types import Features


def smoothed(features: Features, train: Features | None, *, k: int, times: int) -> Features:
    """Each row of `features` (N, D), at unit length, averaged with its `k` nearest by cosine among the training rows.

    `times` over, the training rows being averaged with each other alongside. Without `train` the features are the
    training ones. Labels are not read.
    """
    x = normalize(features.x.double(), dim=1)
    bank = x if train is None else normalize(train.x.double(), dim=1)
    for _ in range(times):
        # A row among its own is its nearest, so that one more is looked for and the row is in the mean once.
        wanted = min(k + 1, len(bank))
        within = neighbours(bank, bank, wanted).sum(dim=1) / wanted
        if train is None:
            x = bank = within
        else:
            x = (x + neighbours(x, bank, min(k, len(bank))).sum(dim=1)) / (min(k, len(bank)) + 1)
            bank = within
    return Features(x.float(), features.y)


def neighbours(x: Tensor, bank: Tensor, k: int) -> Tensor:
    """The `k` nearest (N, k, D) of `bank` (M, D) to each row of `x` (N, D)."""
    return bank[torch.cat([positions for _, positions in nearest(x, bank, k, "cosine")])]
