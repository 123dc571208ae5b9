"""Neural collapse: how near features are to what supervised training drives them to; every class weighs alike."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from dsabench.metrics.samples import Metric, Samples

# Directions in which class means spread less than this share of their widest are the rounding of float32 features.
RANK_TOLERANCE = 1e-6


@Metric
def nc1(samples: Samples) -> float:
    """Within-class covariance against between-class covariance, tr(S_W S_B^+) / C, of features (N, D), classes (N,).

    S_W is the mean over classes of their covariance, S_B the covariance of the class means, ^+ the pseudo-inverse:
    Papyan, Han and Donoho 2020, arXiv 2008.08186, NC1. Lower is nearer to collapse, 0 its limit; takes O(N C D) in a
    second pass. inf where all means coincide, nan where all features do.
    """
    moments = samples.compared().moments
    centred = _centred_means(samples)
    _, spread, directions = torch.linalg.svd(centred / math.sqrt(len(centred)), full_matrices=False)
    kept = spread > RANK_TOLERANCE * spread[0]
    if not kept.any():
        return math.inf if moments.scatter.sum() > 0 else math.nan
    # S_B^+ = V S^-2 V^T, so the trace is the within-class variance of x V S^-1.
    whiten = directions[kept].T / spread[kept]
    within = torch.zeros_like(moments.counts)
    for rows, codes in samples.blocks(len(centred)):
        residuals = (rows - samples.origin - moments.means[codes]) @ whiten
        within.index_add_(0, codes, residuals.square().sum(dim=1))
    return float((within / moments.counts).mean() / len(centred))


@Metric
def nc2(samples: Samples) -> float:
    """Distance of the centred class means M (C, D) from a simplex equiangular tight frame: both angles and norms.

    || M M^T / ||M M^T||_F - (I - 1 1^T / C) / sqrt(C - 1) ||_F: Papyan et al. 2020 (arXiv 2008.08186, NC2), as Zhu et
    al. 2021 (arXiv 2105.02375) measure it. Lower is nearer to collapse, 0 for any two classes; O(N D), in the pass
    that most metrics share, and O(C^2 D). nan where all means coincide.
    """
    # Of any scale: means that are close must not vanish in their squares.
    means = _centred_means(samples.compared())
    means = means / means.abs().max()
    gram = means @ means.T
    frame = torch.eye(len(gram), dtype=torch.float64) - 1 / len(gram)
    return float(torch.linalg.matrix_norm(gram / torch.linalg.matrix_norm(gram) - frame / math.sqrt(len(gram) - 1)))


@Metric
def nc2_equinorm(samples: Samples) -> float:
    """Coefficient of variation of the lengths of the centred class means of features (N, D), classes (N,).

    std_c ||mu_c - mu|| / mean_c ||mu_c - mu||: Papyan et al. 2020 (arXiv 2008.08186, NC2, equinormness). Lower is
    nearer to collapse, 0 for any two classes; O(N D), in the pass that most metrics share. nan where all means
    coincide.
    """
    lengths = torch.linalg.vector_norm(_centred_means(samples.compared()), dim=1)
    return float(lengths.std(correction=0) / lengths.mean())


def _centred_means(samples: Samples) -> Tensor:
    """Class means (C, D) about their mean, in which every class weighs alike."""
    means = samples.moments.means
    return means - means.mean(dim=0)
