"""Geometry that reads no classes: spread over the sphere, effective rank, collapse."""

from __future__ import annotations

import math

import torch

from dsabench.metrics.samples import Metric, Samples

BLOCK_ROWS = 256
# Roy and Vetterli's entropy is undefined at 0; the value is that of the RankMe paper, arXiv 2210.02885, section 3.
RANKME_EPSILON = 1e-7


@Metric
def uniformity(samples: Samples) -> float:
    """Log of the mean Gaussian potential of features (N, D), t = 2: Wang and Isola 2020, arXiv 2005.10242.

    0 where all features are alike, lower the more evenly they cover the sphere; neither direction is better. `y` (N,)
    is checked and not used. O(K^2 D) by blocks of rows, for K samples: above 10,000 on the subsample of the package's
    docstring.
    """
    features, _ = samples.paired
    n = len(features)
    squares = features.square().sum(dim=1)
    potential = 0.0
    for start in range(0, n, BLOCK_ROWS):
        rows = slice(start, min(start + BLOCK_ROWS, n))
        distances = (squares[rows, None] + squares[start:] - 2 * features[rows] @ features[start:].T).clamp(min=0)
        kernel = torch.exp(-2 * distances)
        # Each unordered pair counts once: the square on the diagonal holds its own twice, and each sample with itself.
        square = kernel[:, : rows.stop - start]
        potential += float(kernel.sum() - (square.sum() + square.trace()) / 2)
    return math.log(potential / (n * (n - 1) / 2))


@Metric
def rankme(samples: Samples) -> float:
    """Effective rank of features (N, D), uncentred: Garrido et al. 2022, arXiv 2210.02885, equation 1.

    Between 1 and min(N, D), and 0 where every feature is zero; neither direction is better. `y` (N,) is checked and
    not used. O(N D^2), in the pass that most metrics share.
    """
    singular = samples.triangle.singular_values()
    if singular[0] == 0:
        return 0.0
    shares = singular / singular.sum() + RANKME_EPSILON
    return float(torch.exp(-(shares * shares.log()).sum()))


@Metric
def feature_std(samples: Samples) -> float:
    """Mean over dimensions of the population standard deviation of features (N, D): the collapse alarm of SimSiam.

    0 under collapse, near 1 / sqrt(D) where the features cover the sphere (Chen and He 2020, arXiv 2011.10566,
    section 4.1); neither direction is better. `y` (N,) is checked and not used. O(N D), in the pass that most metrics
    share.
    """
    moments = samples.moments
    between = moments.counts @ (moments.means - moments.centre).square()
    return float(((moments.within + between) / len(samples)).sqrt().mean())
