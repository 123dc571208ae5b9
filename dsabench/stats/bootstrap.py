"""Intervals that resample: seeds for the share of a gap, seeds and test images for a difference.

Seeds and images are crossed, every run answers for every image, so a draw takes seeds with replacement and, class by
class, images with replacement, the same images for both arms and all runs (Owen 2007, "The pigeonhole bootstrap").
Percentiles of few seeds would be too narrow; they are taken further out, at the levels that make the interval of a
mean of n normal seeds as wide as Student's (Hesterberg 2014, arXiv 1411.5279: expanded percentiles). Nothing is bounded
by fewer seeds than the exact test needs. Draws are named, so they repeat.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np
import torch
from scipy import stats as distributions
from torch import Tensor

from dsabench.probes.base import unit_rows
from dsabench.rng import numpy_generator
from dsabench.stats.paired import smallest_p

DRAWS = 2000
# Draws whose weights are held as float64 at a time.
BLOCK = 64

Floats: TypeAlias = np.ndarray[Any, Any]
# (x (N, D), classes (N,), weights (B, N)) -> (B,): a metric where image n counts as often as its weight says.
WeightedMetric: TypeAlias = Callable[[Tensor, Tensor, Tensor], Tensor]


def answers_interval(
    correct: Floats, against: Floats, classes: Floats, *, draws: int = DRAWS, level: float = 0.95
) -> tuple[float, float]:
    """The interval (low, high) of a difference of accuracies over seeds and test images.

    `correct`, `against` are (S, N), how right each run of the two arms is about each image, from 0 to 1, in the same
    order of seeds; `classes` is (N,). Raises ValueError for shapes that do not fit.
    """
    ours, theirs = (np.asarray(answers, dtype=np.float64) for answers in (correct, against))
    labels = np.asarray(classes)
    if ours.ndim != 2 or ours.shape != theirs.shape or labels.shape != ours.shape[1:]:
        raise ValueError(
            f"answers must be (S, N) for both arms and classes (N,); "
            f"got {ours.shape}, {theirs.shape} and {labels.shape}"
        )
    difference = ours - theirs
    weights = image_weights(labels, draws)
    blocks = np.array_split(weights, math.ceil(draws / BLOCK))
    by_seed = np.concatenate([block.astype(np.float64) @ difference.T for block in blocks])
    return _interval(by_seed / len(labels), level)


def features_interval(
    metric: WeightedMetric,
    arm: Sequence[Tensor],
    against: Sequence[Tensor],
    classes: Tensor,
    *,
    draws: int = DRAWS,
    level: float = 0.95,
) -> tuple[float, float]:
    """The interval (low, high) of a difference of a metric of features over seeds and test images.

    `arm`, `against` hold one (N, D) a seed, in the same order, looked at one after another; `classes` is (N,). A draw
    repeats images, which moves most metrics of geometry a little one way: its mean is put back on the estimate.
    Unbounded where the metric of a run is not finite. Raises ValueError for arms of unequal numbers of seeds.
    """
    if len(arm) != len(against):
        raise ValueError(f"both arms need the same seeds; got {len(arm)} and {len(against)} sets of features")
    weights = torch.from_numpy(image_weights(classes.numpy(), draws))
    once = torch.ones(1, len(classes), dtype=torch.float64)

    def values(x: Tensor) -> tuple[Floats, float]:
        drawn = torch.cat([metric(x, classes, block.double()) for block in torch.split(weights, BLOCK)])
        return drawn.numpy(), float(metric(x, classes, once))

    by_seed, estimates = [], []
    for ours, theirs in zip(arm, against, strict=True):
        (drawn, estimate), (drawn_against, estimate_against) = values(ours), values(theirs)
        by_seed.append(drawn - drawn_against)
        estimates.append(estimate - estimate_against)
    differences, found = np.stack(by_seed, axis=1), np.asarray(estimates)
    if not (np.isfinite(differences).all() and np.isfinite(found).all()):
        return -math.inf, math.inf
    return _interval(differences + (found - differences.mean(axis=0)), level)


def gap_interval(
    method: Sequence[float],
    regularized: Sequence[float],
    supervised: Sequence[float],
    *,
    paired: bool,
    draws: int = DRAWS,
    level: float = 0.95,
) -> tuple[float, float]:
    """The interval (low, high) of `gap_closed` over seeds, the first two arms drawn together, the third if `paired`.

    Unbounded where some draw has no distance to cover, or one the other way: then the share has no sense.
    """
    floor, reached, ceiling = (np.asarray(values, dtype=np.float64) for values in (method, regularized, supervised))
    n = len(floor)
    if smallest_p(min(n, len(ceiling))) >= 1 - level:
        return -math.inf, math.inf
    drawn = numpy_generator("bootstrap", "seeds").integers(n, size=(draws, n))
    apart = numpy_generator("bootstrap", "ceiling").integers(len(ceiling), size=(draws, len(ceiling)))
    floors = floor[drawn].mean(axis=1)
    distance = ceiling[drawn if paired else apart].mean(axis=1) - floors
    if (distance * (ceiling.mean() - floor.mean()) <= 0).any():
        return -math.inf, math.inf
    return _percentiles((reached[drawn].mean(axis=1) - floors) / distance, min(n, len(ceiling)), level)


def image_weights(classes: Floats, draws: int) -> Floats:
    """How often each image is drawn (draws, N) uint8, class by class with replacement, from classes (N,)."""
    generator = numpy_generator("bootstrap", "images")
    weights = np.zeros((draws, len(classes)), dtype=np.uint8)
    for label in np.unique(classes):
        members = np.flatnonzero(classes == label)
        n = len(members)
        drawn = generator.integers(n, size=(draws, n)) + n * np.arange(draws)[:, None]
        weights[:, members] = np.bincount(drawn.ravel(), minlength=draws * n).reshape(draws, n)
    return weights


def weighted_cdnv(x: Tensor, classes: Tensor, weights: Tensor) -> Tensor:
    """`dsabench.metrics.cdnv` (B,) of features (N, D) and classes (N,), image n counted weights (B, N) times.

    float64, from the weighted moments of each class about its plain mean, so that tight classes keep their digits.
    Every class must carry weight, and there must be two.
    """
    rows, weights = unit_rows(x.double()), weights.double()
    # With a sample as the origin, features that are all alike become exact zeros.
    rows = rows - rows[0]
    means, variances = [], []
    for label in torch.unique(classes):
        members = classes == label
        centre = rows[members].mean(dim=0)
        moved, counts = rows[members] - centre, weights[:, members]
        shares = counts / counts.sum(dim=1, keepdim=True)
        shift = shares @ moved
        means.append(centre + shift)
        variances.append((shares @ moved.square().sum(dim=1) - shift.square().sum(dim=1)).clamp(min=0))
    mean, variance = torch.stack(means, dim=1), torch.stack(variances, dim=1)
    distances = torch.cdist(mean, mean, compute_mode="donot_use_mm_for_euclid_dist").square()
    ratios = (variance[:, :, None] + variance[:, None, :]) / (2 * distances)
    apart = ~torch.eye(mean.shape[1], dtype=torch.bool)
    return ratios[:, apart].mean(dim=1)


def repeating(metric: Callable[[Tensor, Tensor], float]) -> WeightedMetric:
    """Any metric (x (N, D), classes (N,)) as a weighted one, by repeating images: as slow as so many calls."""

    def weighted(x: Tensor, classes: Tensor, weights: Tensor) -> Tensor:
        index = torch.arange(len(x))
        drawn = (index.repeat_interleave(row.long()) for row in weights)
        return torch.tensor([metric(x[kept], classes[kept]) for kept in drawn], dtype=torch.float64)

    return weighted


def _interval(by_seed: Floats, level: float) -> tuple[float, float]:
    """The interval of the mean over seeds, from the differences of each seed under every draw of images (B, S)."""
    draws, n = by_seed.shape
    if smallest_p(n) >= 1 - level:
        return -math.inf, math.inf
    chosen = numpy_generator("bootstrap", "seeds").integers(n, size=(draws, n))
    return _percentiles(np.take_along_axis(by_seed, chosen, axis=1).mean(axis=1), n, level)


def _percentiles(draws: Floats, n: int, level: float) -> tuple[float, float]:
    """Hesterberg's expanded percentiles of draws (B,) for a sample of n."""
    student = math.sqrt(n / (n - 1)) * float(distributions.t.ppf((1 + level) / 2, n - 1))
    tail = float(distributions.norm.cdf(-student))
    low, high = np.quantile(draws, [tail, 1 - tail])
    return float(low), float(high)
