"""The linear map of features that keeps what sets neighbourhoods apart, and takes back what sets apart what is alike.

An objective behind a projector does not see a linear map of its features: the projector's first layer undoes it. So
which one features come with is left open, and it decides what distances say. This one is read off the features alone,
after training. Two views of one image differ in nothing that is meant, so what sets their features apart is whitened:
within-class covariance normalisation (Hatch et al. 2006) with every image a class. Then take what a feature says of its
image to be where its neighbourhood lies, and something of its own: the differences between mutual neighbours have twice
the covariance W of what is their own, and all features that of W and of where neighbourhoods lie. W is whitened
(relevant component analysis, Bar-Hillel et al. 2003, with mutual neighbours for chunklets), and of each axis that share
is kept which is not W (the posterior mean, as in probabilistic linear discriminant analysis, Ioffe 2006). Neighbours
are better found in what comes out, so they are, some times over.
"""

from __future__ import annotations

from typing import Self

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from dsabench.checks import require

NEIGHBOURS, TIMES = 8, 5
# Whitening what sets views apart leaves more axes that say little. Shares that count squared keep fewer of them, for a
# lower CDNV at some cost by kNN; chosen in development. Where neighbours alone are known they count as they are.
POWER, POWER_WITH_VIEWS = 1, 2

# Features that are looked at, evenly spread: every one is compared with every other.
SAMPLE = 4096
# Rows of cosines that are held at once.
BLOCK = 1024


class Adjuster(nn.Module):
    """Features (B, D) to as many: at unit length, from their `mean` (D,) on, times `map` (D, D).

    Both are buffers, the mean 0 and the map the identity until it is fitted. Features keep their type. Lengths are left
    out, as kNN and few labels do: of features of two or three dimensions that is much of what they say.
    """

    mean: Tensor
    map: Tensor

    def __init__(self, feature_dim: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(feature_dim))
        self.register_buffer("map", torch.eye(feature_dim))

    def forward(self, features: Tensor) -> Tensor:
        """Adjusted features (B, D)."""
        adjusted: Tensor = (normalize(features, dim=1) - self.mean.to(features.dtype)) @ self.map.to(features.dtype)
        return adjusted

    @torch.no_grad()
    def fit(self, features: Tensor, views: tuple[Tensor, Tensor] | None = None, *, k: int = NEIGHBOURS) -> Self:
        """Become what adjusts features such as these (N, D); no label is read.

        `views`: features (M, D) of two views each of M images, drawn as in pretraining; without them neighbours alone
        say what is alike. `k`: neighbours of an image, of which those count that have it among theirs. Of the maps that
        give the same distances it is the symmetric one, and the mean squared length of what it makes of these features
        is 1. Axes along which they do not vary are mapped to 0. Raises ValueError for fewer than three features,
        features that are not finite, views of other shapes, and k < 1. In float64; costs O(N^2 D + M D^2 + D^3), N at
        most 4,096 of them, evenly spread.
        """
        require(len(features) >= 3, f"an adjuster needs 3 features, got {len(features)}")
        require(k >= 1, "k must be >= 1")
        features = features[looked_at(len(features)).to(features.device)]
        pair = views or (features[:0], features[:0])
        require(
            pair[0].shape == pair[1].shape and pair[0].shape[1:] == features.shape[1:],
            f"two views of features (N, {features.shape[1]}) must be (M, {features.shape[1]}) both, "
            f"got {tuple(pair[0].shape)} and {tuple(pair[1].shape)}",
        )
        require(all(bool(x.isfinite().all()) for x in (features, *pair)), "an adjuster needs features that are finite")
        unit, one, other = (directions(x) for x in (features, *pair))
        mean = unit.mean(dim=0)
        x = unit - mean
        variances, axes = torch.linalg.eigh(x.T @ x / len(x))
        # Against the length of what they are of, which is 1.
        linear = axes[:, variances > max(x.shape) * torch.finfo(x.dtype).eps]
        if linear.shape[1]:
            if len(one):
                linear = linear @ whitening(covariance_of((one - other) @ linear, len(one)))
            for _ in range(TIMES):
                linear = linear @ whitening(own_covariance(normalize(x @ linear, dim=1), k))
            linear = linear @ kept(normalize(x @ linear, dim=1), k, POWER_WITH_VIEWS if len(one) else POWER)
            # No distance has a unit.
            linear = linear / (x @ linear).square().sum(dim=1).mean().sqrt()
        squares, axes = torch.linalg.eigh(linear @ linear.T)
        self.mean.copy_(mean)
        self.map.copy_((axes * squares.clamp(min=0).sqrt()) @ axes.T)
        return self


def looked_at(count: int) -> Tensor:
    """The positions (N,), evenly spread, that an adjuster looks at of so many features: all of them if they are few."""
    return torch.linspace(0, count - 1, min(count, SAMPLE), dtype=torch.float64).long()


def directions(features: Tensor) -> Tensor:
    """Features (N, D) at unit length in float64."""
    # There is no float64 on mps.
    return normalize((features.cpu() if features.device.type == "mps" else features).double(), dim=1)


def kept(unit: Tensor, k: int, power: int = POWER) -> Tensor:
    """A map (D, E) of unit features (N, D): what is an image's own whitened, and of each axis the share that is not.

    The share to the `power`, that is.
    """
    even = whitening(own_covariance(unit, k))
    x = (unit - unit.mean(dim=0)) @ even
    variances, axes = torch.linalg.eigh(x.T @ x / len(x))
    # What is an image's own has the variance 1 now.
    shares = (1 - 1 / variances).clamp(min=0)
    # Where neighbours are no nearer than others, no axis is better than another.
    kept_axes: Tensor = axes * (shares**power if shares[-1] > 0 else 1.0)
    return even @ kept_axes


def own_covariance(unit: Tensor, k: int) -> Tensor:
    """The covariance (D, D) of what sets unit features (N, D) apart from those of their k nearest that are mutual."""
    near, cosines = nearest(unit, min(k, len(unit) - 1))
    i, rank = torch.nonzero(cosines >= cosines[near, -1], as_tuple=True)
    return covariance_of(unit[i] - unit[near[i, rank]], len(unit))


def covariance_of(differences: Tensor, n: int) -> Tensor:
    """The covariance (D, D) of what has such `differences` (M, D) two by two, M of n features.

    Shrunk towards a sphere, as far as so many features want it (OAS, Chen et al. 2010).
    """
    found = differences.T @ differences / (2 * len(differences))
    d = differences.shape[1]
    square, trace = found.square().sum(), found.trace()
    # How far from a sphere it is, 0 for one.
    apart = square - trace.square() / d
    weight = ((1 - 2 / d) * square + trace.square()) / ((n + 1 - 2 / d) * apart)
    weight = torch.where(apart > 0, weight, 1.0).clamp(0, 1)
    return (1 - weight) * found + weight * trace / d * torch.eye(d, dtype=found.dtype, device=found.device)


def nearest(unit: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The k nearest others of each of unit features (N, D): positions (N, k) and cosines (N, k), nearest first."""
    blocks = []
    for start in range(0, len(unit), BLOCK):
        cosine = unit[start : start + BLOCK] @ unit.T
        cosine.diagonal(start).fill_(-torch.inf)
        blocks.append(cosine.topk(k, dim=1))
    return torch.cat([top.indices for top in blocks]), torch.cat([top.values for top in blocks])


def whitening(covariance: Tensor) -> Tensor:
    """A map (D, D) that makes this `covariance` (D, D) the identity; itself the identity where it is 0."""
    variances, axes = torch.linalg.eigh(covariance)
    if variances[-1] <= 0:
        return torch.eye(len(variances), dtype=variances.dtype, device=variances.device)
    floor = variances[-1] * len(variances) * torch.finfo(variances.dtype).eps
    whitened: Tensor = axes * variances.clamp(min=floor) ** -0.5
    return whitened
