"""Class by class and sample by sample: what the metrics sum up, before it is summed up.

Conventions and errors are those of the package's docstring; classes are in the order of `Samples.codes`, and C must be
small enough for (C, C).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from dsabench.metrics.crowding import pairwise_cdnv
from dsabench.metrics.distances import pairwise
from dsabench.metrics.overlap import class_gaps, overlapping, pairwise_directional_cdnv
from dsabench.metrics.samples import Samples


class Places(NamedTuple):
    """Of each sample, (N,): its distance to the mean of its class, the least to that of another, and that class."""

    own: Tensor
    other: Tensor
    nearest: Tensor

    @property
    def ratio(self) -> Tensor:
        """How badly samples are placed, (N,): above 1 they lie nearer to another class; nan where all means meet."""
        return self.own / self.other


def class_values(samples: Samples) -> dict[str, Tensor]:
    """Metrics of each class, each (C,) float64, named as the metric that sums them up.

    The mean over classes is the metric, for `class_overlap` the mean over samples; a class's CDNV, directional or not,
    is the mean over the others. O(N C D) in two passes beyond the moments.
    """
    counts = samples.moments.counts
    overlap = torch.zeros_like(counts).index_add_(0, samples.codes, overlapping(samples).double())
    return {
        "intra_class_variance": samples.moments.variances,
        "cdnv": _over_others(pairwise_cdnv(samples)),
        "directional_cdnv": _over_others(pairwise_directional_cdnv(samples)),
        "nearest_class_gap": class_gaps(samples),
        "class_overlap": overlap / counts,
    }


def places(samples: Samples) -> Places:
    """Where each sample lies between the class means; O(N C D), one pass beyond the moments."""
    means = samples.compared().moments.means
    found = []
    for rows, codes in samples.blocks(len(means)):
        distances = pairwise(rows - samples.origin, means)
        own = distances.gather(1, codes[:, None])
        other, nearest = distances.scatter_(1, codes[:, None], torch.inf).min(dim=1)
        found.append((own.squeeze(1), other, nearest))
    return Places(*map(torch.cat, zip(*found, strict=True)))


def confusion(codes: Tensor, predicted: Tensor, n_classes: int) -> Tensor:
    """Shares (C, C) float64 of the samples of a class (rows) that were answered as each class (columns).

    `codes` (N,) and `predicted` (R, N), of R draws, are numbers in 0..C-1; rows of classes without a sample are nan.
    """
    cells = (codes * n_classes + predicted).flatten()
    counts = torch.bincount(cells, minlength=n_classes**2).view(n_classes, n_classes).double()
    return counts / counts.sum(dim=1, keepdim=True)


def _over_others(matrix: Tensor) -> Tensor:
    """The means (C,) of the rows of (C, C) without its diagonal."""
    others = ~torch.eye(len(matrix), dtype=torch.bool)
    return matrix[others].view(len(matrix), -1).mean(dim=1)
