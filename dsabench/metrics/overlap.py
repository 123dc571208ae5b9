"""Which class means are too near: for a class, and for each sample."""

from __future__ import annotations

import torch
from torch import Tensor

from dsabench.metrics.distances import ROUNDING, pairwise
from dsabench.metrics.samples import Metric, Samples


@Metric
def directional_cdnv(samples: Samples) -> float:
    """Variance along the line between two class means, over the squared distance of the means.

    The mean over ordered pairs c != c' of mean_{i in c} ((x_i - mu_c) . (mu_c - mu_c'))^2 / ||mu_c - mu_c'||^4, of
    features (N, D) and classes (N,): Luthra et al. 2025, arXiv 2506.04411, and arXiv 2603.03530. At most `cdnv`, and D
    times smaller where classes are round: spread across the line of two means costs a linear or nearest-mean classifier
    nothing. 2603.03530 reports that it falls under self-supervised training while `cdnv` stays large, and bounds the
    few-shot error by it; `cdnv` is what the paper of DSA argues with, so it is the primary. Lower is better; takes
    O(N C D) in a second pass.
    """
    ratios = pairwise_directional_cdnv(samples)
    return float(ratios[~torch.eye(len(ratios), dtype=torch.bool)].mean())


def pairwise_directional_cdnv(samples: Samples) -> Tensor:
    """`directional_cdnv` (C, C) float64 of each class (rows) towards each other; the diagonal means nothing."""
    moments = samples.compared().moments
    means = moments.means
    along = torch.zeros(len(means), len(means), dtype=torch.float64)
    for rows, codes in samples.blocks(len(means)):
        products = (rows - samples.origin - means[codes]) @ means.T
        along.index_add_(0, codes, (products - products.gather(1, codes[:, None])).square_())
    apart = pairwise(means, means).square()
    # Classes that differ and share a mean are inf times too wide, whatever the line.
    return torch.where(apart > 0, along / moments.counts[:, None] / apart, moments.variances[:, None]) / apart


@Metric
def nearest_class_gap(samples: Samples) -> float:
    """Mean over classes of the squared distance from the mean of features (N, D) to the nearest other class mean.

    What `inter_class_separation` (arXiv 2407.13541) is for the nearest class instead of for all. Higher is better;
    O(N D), in the pass that most metrics share, and O(C^2 D).
    """
    return float(class_gaps(samples).mean())


def class_gaps(samples: Samples) -> Tensor:
    """Squared distances (C,) float64 from the mean of each class to the nearest other."""
    means = samples.compared().moments.means
    return pairwise(means, means).fill_diagonal_(torch.inf).min(dim=1).values.square()


@Metric
def class_overlap(samples: Samples) -> float:
    """Share of the samples (N, D) that are no nearer to the mean of their class (N,) than to that of another.

    The error of the nearest class mean on the samples it was made of (the second side of neural collapse's NC4, Papyan
    et al. 2020, arXiv 2008.08186). A tie, up to rounding, overlaps: so a collapse scores 1. Lower is better; takes
    O(N C D) in a second pass.
    """
    return int(overlapping(samples).sum()) / len(samples)


def overlapping(samples: Samples) -> Tensor:
    """Which samples (N,) bool are no nearer to the mean of their class than to that of another."""
    means = samples.compared().moments.means
    lengths = means.square().sum(dim=1)
    found = []
    for rows, codes in samples.blocks(len(means)):
        rows -= samples.origin
        # ||x - mu||^2 = ||x||^2 + ||mu||^2 - 2 x . mu, and the first term is the same for every class.
        own, other = _own_and_other(torch.addmm(lengths, rows, means.T, alpha=-2), codes)
        doubtful = (other - own).abs() <= ROUNDING * (rows.square().sum(dim=1) + lengths.max())
        block = other < own
        own, other = _own_and_other(pairwise(rows[doubtful], means), codes[doubtful])
        block[doubtful] = other <= own * (1 + ROUNDING)
        found.append(block)
    return torch.cat(found)


def _own_and_other(distances: Tensor, codes: Tensor) -> tuple[Tensor, Tensor]:
    """The distances (B,) to the mean of a sample's class (B,) and to the nearest other, of those (B, C) to all."""
    own = distances.gather(1, codes[:, None]).squeeze(1)
    return own, distances.scatter(1, codes[:, None], torch.inf).min(dim=1).values


@Metric
def calinski_harabasz(samples: Samples) -> float:
    """Variance ratio of features (N, D) and classes (N,): (between / (C - 1)) / (within / (N - C)), in traces.

    Calinski and Harabasz 1974: `fisher_ratio` with degrees of freedom, so comparable at equal N and C alone. Higher is
    better; O(N D), in the pass that most metrics share. Raises ValueError where every sample is a class of its own.
    """
    moments, (n, classes) = samples.compared().moments, (len(samples), samples.n_classes)
    if classes == n:
        raise ValueError(f"the Calinski-Harabasz index needs fewer classes than samples; got {n} of each")
    between = moments.counts @ (moments.means - moments.centre).square().sum(dim=1)
    return float(between / (classes - 1) / (moments.scatter.sum() / (n - classes)))
