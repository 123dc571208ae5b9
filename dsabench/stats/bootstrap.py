"""Intervals that resample: seeds for the share of a gap, seeds and test images for a difference.

Seeds and images are crossed, every run answers for every image (Owen 2007, "The pigeonhole bootstrap"). A draw takes
images with replacement, class by class, the same ones for both arms and all runs, and apart from that seeds; it moves
the difference by what either does. The noise of single answers is in both, so an interval is rather wide than narrow.
Means of few resampled seeds vary too little: what they move is stretched until n normal seeds would give Student's
interval, to the end that the expanded percentiles of Hesterberg (2014, arXiv 1411.5279) serve. Nothing is bounded by
fewer seeds than the exact test needs. Draws are named, so they repeat.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import torch
from scipy import stats as distributions
from torch import Tensor

from dsabench.probes.base import unit_rows
from dsabench.rng import numpy_generator
from dsabench.stats.paired import smallest_p

DRAWS = 2000
# Draws whose weights are held as float64 at a time.
BLOCK = 250

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
    blocks = np.array_split(image_weights(labels, draws), math.ceil(draws / BLOCK))
    by_seed = np.concatenate([block.astype(np.float64) @ difference.T for block in blocks])
    return _interval(by_seed.mean(axis=1) / len(labels), difference.mean(axis=1), level)


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

    `arm`, `against` hold one (N, D) a seed, in the same order, looked at one after another; `classes` is (N,).
    Unbounded where the metric of a run is not finite. Raises ValueError for arms of unequal numbers of seeds.
    """
    if len(arm) != len(against):
        raise ValueError(f"both arms need the same seeds; got {len(arm)} and {len(against)} sets of features")
    weights = torch.from_numpy(image_weights(classes.numpy(), draws))
    ours, theirs = ([drawn_values(metric, x, classes, weights) for x in features] for features in (arm, against))
    return drawn_interval(ours, theirs, level=level)


def drawn_interval(arm: Sequence[Drawn], against: Sequence[Drawn], *, level: float = 0.95) -> tuple[float, float]:
    """`features_interval` of what `drawn_values` gives for each run, so that a run of several pairs is drawn once."""
    moved: Floats = np.zeros(len(arm[0].values))
    by_seed = []
    for ours, theirs in zip(arm, against, strict=True):
        # Collapsed runs have infinite values, and inf - inf is told apart below.
        with np.errstate(invalid="ignore"):
            moved += ours.values - theirs.values
            by_seed.append(np.float64(ours.estimate) - theirs.estimate)
    return _interval(moved / len(by_seed), np.asarray(by_seed), level)


class Drawn(NamedTuple):
    """The metric of one run under every draw of images, `values` (B,), and its `estimate` on the images as they are."""

    values: Floats
    estimate: float


def drawn_values(metric: WeightedMetric, x: Tensor, classes: Tensor, weights: Tensor) -> Drawn:
    """A metric of the features (N, D) of one run of classes (N,) under draws of images (B, N) uint8."""
    blocks = [metric(x, classes, block.double()) for block in torch.split(weights, BLOCK)]
    once = torch.ones(1, len(classes), dtype=torch.float64)
    return Drawn(torch.cat(blocks).numpy(), float(metric(x, classes, once)))


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
    n, top = len(floor), len(ceiling)
    if not _bounds(min(n, top), level):
        return -math.inf, math.inf
    drawn = numpy_generator("bootstrap", "seeds").integers(n, size=(draws, n))
    apart = drawn if paired else numpy_generator("bootstrap", "ceiling").integers(top, size=(draws, top))
    floors = _stretched(floor[drawn].mean(axis=1), floor.mean(), n, level)
    distance = _stretched(ceiling[apart].mean(axis=1), ceiling.mean(), top, level) - floors
    if (distance * (ceiling.mean() - floor.mean()) <= 0).any():
        return -math.inf, math.inf
    covered = _stretched(reached[drawn].mean(axis=1), reached.mean(), n, level) - floors
    return percentiles(covered / distance, level)


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


class Moments(NamedTuple):
    """What B draws of images leave of C classes: mean squared distances to the mean `variances` (B, C), squared
    distances of the means `squared` (B, C, C), and `counts` (C,), which no draw changes; all float64."""

    variances: Tensor
    squared: Tensor
    counts: Tensor


def weighted_moments(x: Tensor, classes: Tensor, weights: Tensor) -> Moments:
    """The moments of the unit rows of features (N, D) of classes (N,), image n counted weights (B, N) times.

    About the plain mean of each class, so that tight classes keep their digits. Every class must carry weight, and
    there must be two.
    """
    rows, weights = unit_rows(x.double()), weights.double()
    # With a sample as the origin, features that are all alike become exact zeros.
    rows = rows - rows[0]
    means, variances, sizes = [], [], []
    for label in torch.unique(classes):
        members = classes == label
        centre = rows[members].mean(dim=0)
        moved, counts = rows[members] - centre, weights[:, members]
        shares = counts / counts.sum(dim=1, keepdim=True)
        shift = shares @ moved
        means.append(centre + shift)
        variances.append((shares @ moved.square().sum(dim=1) - shift.square().sum(dim=1)).clamp(min=0))
        sizes.append(members.sum())
    mean, variance = torch.stack(means, dim=1), torch.stack(variances, dim=1)
    squared = torch.cdist(mean, mean, compute_mode="donot_use_mm_for_euclid_dist").square()
    return Moments(variance, squared, torch.stack(sizes).double())


def moments_cdnv(moments: Moments) -> Tensor:
    """`dsabench.metrics.cdnv` (B,) of moments."""
    variance = moments.variances
    ratios = (variance[:, :, None] + variance[:, None, :]) / (2 * moments.squared)
    apart = ~torch.eye(variance.shape[1], dtype=torch.bool)
    return ratios[:, apart].mean(dim=1)


def weighted_cdnv(x: Tensor, classes: Tensor, weights: Tensor) -> Tensor:
    """`dsabench.metrics.cdnv` (B,) of features (N, D) and classes (N,), image n counted weights (B, N) times."""
    return moments_cdnv(weighted_moments(x, classes, weights))


def repeating(metric: Callable[[Tensor, Tensor], float]) -> WeightedMetric:
    """Any metric (x (N, D), classes (N,)) as a weighted one, by repeating images: as slow as so many calls."""

    def weighted(x: Tensor, classes: Tensor, weights: Tensor) -> Tensor:
        index = torch.arange(len(x))
        drawn = (index.repeat_interleave(row.long()) for row in weights)
        return torch.tensor([metric(x[kept], classes[kept]) for kept in drawn], dtype=torch.float64)

    return weighted


def _interval(by_images: Floats, by_seed: Floats, level: float) -> tuple[float, float]:
    """The interval of a mean over seeds from its values under draws of images (B,) and those of each seed (S,)."""
    n, draws = len(by_seed), len(by_images)
    if not (_bounds(n, level) and np.isfinite(by_images).all() and np.isfinite(by_seed).all()):
        return -math.inf, math.inf
    chosen = numpy_generator("bootstrap", "seeds").integers(n, size=(draws, n))
    means = _stretched(by_seed[chosen].mean(axis=1), by_seed.mean(), n, level)
    # Repeated images move most metrics of geometry a little one way, which is no uncertainty.
    return percentiles(means + (by_images - by_images.mean()), level)


def _bounds(n: int, level: float) -> bool:
    """Whether the exact test can bound anything with n seeds."""
    return smallest_p(n) < 1 - level


def _stretched(means: Floats, centre: Floats, n: int, level: float) -> Floats:
    """Means of resampled seeds, their distance from that of all n made Student's."""
    tail = (1 + level) / 2
    student = math.sqrt(n / (n - 1)) * float(distributions.t.ppf(tail, n - 1)) / float(distributions.norm.ppf(tail))
    stretched: Floats = centre + student * (means - centre)
    return stretched


def percentiles(draws: Floats, level: float) -> tuple[float, float]:
    """The ends (low, high) between which the middle `level` of draws (B,) lie."""
    low, high = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
