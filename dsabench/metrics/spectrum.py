"""How many dimensions the features use: spectrum of their covariance, cone, and the manifold near each sample."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from dsabench.metrics.distances import nearly_coincide, squared_distances
from dsabench.metrics.moments import Triangle
from dsabench.metrics.samples import Metric, Samples

# Standard deviations below this share of the largest are the rounding of features that were computed in float32.
SPECTRUM_TOLERANCE = 1e-6


@Metric
def effective_rank(samples: Samples) -> float:
    """Exponential of the entropy of the eigenvalues of the covariance of features (N, D), as shares of their sum.

    Roy and Vetterli 2007, of the covariance, where `rankme` takes singular values about zero. Between 1
    and min(N - 1, D), low under collapse, and neither direction is better; nan where all features are alike. `y` (N,)
    is checked and not used. O(N D^2), one pass that `alpha_req` shares.
    """
    eigenvalues = samples.once(_deviations).square()
    shares = eigenvalues / eigenvalues.sum()
    return float(torch.exp(torch.special.entr(shares).sum()))


@Metric
def alpha_req(samples: Samples) -> float:
    """Exponent of the decay of the eigenvalues of the covariance of features (N, D): lambda_j about j^-alpha.

    Least squares of log lambda_j on log j, over the standard deviations above 1e-6 of the largest: Agrawal et al. 2022
    (NeurIPS, alpha-ReQ). Near 1 is held to be best, so neither direction is better; large under collapse,
    nan where fewer than two eigenvalues are left. `y` (N,) is checked and not used. O(N D^2), one pass that
    `effective_rank` shares.
    """
    deviations = samples.once(_deviations)
    kept = deviations[deviations > SPECTRUM_TOLERANCE * deviations[0]]
    if len(kept) < 2:
        return math.nan
    x = torch.arange(1, len(kept) + 1, dtype=torch.float64).log()
    x -= x.mean()
    return float(-(x @ (2 * kept.log())) / x.square().sum())


@Metric
def anisotropy(samples: Samples) -> float:
    """Mean cosine of two features (N, D), over all pairs i != j: 0 around the origin, 1 in a narrow cone.

    Ethayarajh 2019 (arXiv 1909.00512), over all pairs. Neither direction is better. `y` (N,) is checked and not used.
    O(N D), in the pass that most metrics share: the cosines sum to ||sum_i x_i||^2 less the N of each with itself.
    """
    moments, n = samples.moments, len(samples)
    apart = moments.centre
    total = n * (apart + samples.origin)
    # The squared lengths, each 1, or 0 for a row of zeros.
    about_centre = moments.within.sum() + moments.counts @ (moments.means - apart).square().sum(dim=1)
    squares = about_centre + n * (apart + samples.origin).square().sum()
    return float((total.square().sum() - squares) / (n * (n - 1)))


@Metric
def intrinsic_dimension(samples: Samples) -> float:
    """Dimension of the manifold near each of features (N, D), from the ratio of its two nearest distances: TwoNN.

    The slope through the origin of -log(1 - i / n) on log(r2 / r1), ascending, without the last tenth: Facco et al.
    2017, arXiv 1803.06992. Repeated samples count once. Neither direction is better. `y` (N,) is checked and not used.
    Raises ValueError for fewer than 3 samples; nan for fewer than 3 distinct ones. O(K^2 D) for K samples, above 10,000
    the subsample of the package's docstring.
    """
    if len(samples) < 3:
        raise ValueError(f"the intrinsic dimension needs at least 3 samples; got {len(samples)}")
    rows = torch.unique(samples.paired[0], dim=0)
    if len(rows) < 3:
        return math.nan
    nearest = [
        distances.topk(2, largest=False).values
        for _, distances in squared_distances(rows, exactly=samples.once(nearly_coincide))
    ]
    first, second = torch.cat(nearest).T
    x = (second / first).log().sort().values / 2
    kept = int(0.9 * len(x))
    y = -torch.log1p(-torch.arange(1, kept + 1, dtype=torch.float64) / len(x))
    return float((x[:kept] @ y) / x[:kept].square().sum())


def _deviations(samples: Samples) -> Tensor:
    """Singular values (min(N, D),), descending, of the unit rows about their mean: sqrt(N) standard deviations."""
    centre = samples.origin + samples.moments.centre
    triangle = Triangle(len(centre))
    for rows, _ in samples.blocks():
        triangle.add(rows - centre)
    return triangle.singular_values()
