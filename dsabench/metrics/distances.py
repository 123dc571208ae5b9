"""Distances between all pairs: of class means, and of samples by blocks of rows."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from dsabench.metrics.samples import Samples

BLOCK_ROWS = 256
# A matrix product is trusted where no squared distance is below this share of the largest: it is off by some 1e-15.
TRUSTED = 1e-8
# Two distances that differ by less than this share are equal up to rounding.
ROUNDING = 1e-12


def pairwise(rows: Tensor, others: Tensor) -> Tensor:
    """Euclidean distances (B, K) from rows (B, D) to others (K, D), with all digits where they are close."""
    # The matrix product that cdist would otherwise use loses the digits of rows that are close.
    return torch.cdist(rows, others, compute_mode="donot_use_mm_for_euclid_dist")


def squared_distances(rows: Tensor, *, exactly: bool) -> Iterator[tuple[slice, Tensor]]:
    """Blocks of rows (K, D), and the squared distances (B, K) from them to all, that to itself infinite.

    By matrix products, or `exactly` by differences: about ten times slower, all digits kept where rows are close, and
    equal rows equally far from any other.
    """
    centred = rows - rows.mean(dim=0)
    squares = centred.square().sum(dim=1)
    for start in range(0, len(rows), BLOCK_ROWS):
        block = slice(start, min(start + BLOCK_ROWS, len(rows)))
        if exactly:
            distances = pairwise(rows[block], rows).square_()
        else:
            distances = torch.addmm(squares, centred[block], centred.T, alpha=-2).add_(squares[block, None])
        distances[torch.arange(len(distances)), torch.arange(block.start, block.stop)] = torch.inf
        yield block, distances


def nearer_and_level(distances: Tensor, last: Tensor) -> tuple[Tensor, Tensor]:
    """Which of the distances (B, K) are below that of their row in `last` (B, 1), and which equal it up to rounding.

    Without that a sample of zeros, as far from all others, would rank them by their last digits.
    """
    nearer = distances < last * (1 - ROUNDING)
    return nearer, (distances <= last * (1 + ROUNDING)) & ~nearer


def nearly_coincide(samples: Samples) -> bool:
    """Whether some of the samples whose pairs are looked at are too close for matrix products."""
    rows, _ = samples.paired
    least, largest = torch.inf, 0.0
    for _, distances in squared_distances(rows, exactly=False):
        least = min(least, float(distances.min()))
        largest = max(largest, float(distances[distances.isfinite()].max()))
    return least <= TRUSTED * largest
