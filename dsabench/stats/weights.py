"""Two single models on the same test images: intervals that resample images, class by class and paired.

They speak of these weights: another seed of the same method is another model. An accuracy is a mean over images, so a
draw is how often each of the few values that a difference takes was drawn (a multinomial of each class). A metric of
geometry is one of the classes' moments, and a draw is their weighted moments; nothing is searched or fitted again.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor

from dsabench.rng import numpy_generator
from dsabench.stats.bootstrap import (
    BLOCK,
    DRAWS,
    Floats,
    Moments,
    image_weights,
    moments_cdnv,
    percentiles,
    weighted_moments,
)
from dsabench.stats.outcomes import MetricKey

MomentMetric: TypeAlias = Callable[[Moments], Tensor]


@dataclass(frozen=True)
class ImageComparison:
    """One metric of one model against that of another; `low`, `high` bound the difference over test images.

    They are None where the metric cannot be had from answers or moments. `n` is the number of images, and `primary`
    whether the sentence is about this metric.
    """

    spec: str
    against: str
    key: MetricKey
    higher_is_better: bool | None
    value_against: float
    value: float
    n: int
    low: float | None = None
    high: float | None = None
    primary: bool = False

    @property
    def difference(self) -> float:
        return self.value - self.value_against


def accuracy_interval(
    correct: Floats, against: Floats, classes: Floats, *, draws: int = DRAWS, level: float = 0.95
) -> tuple[float, float]:
    """The percentile interval (low, high) of a difference of accuracies over test images.

    `correct`, `against` (N,) say how right each model is about each image, from 0 to 1; `classes` is (N,). Raises
    ValueError for shapes that do not fit.
    """
    ours, theirs, labels = (np.asarray(values) for values in (correct, against, classes))
    if ours.ndim != 1 or not ours.shape == theirs.shape == labels.shape:
        raise ValueError(f"answers and classes must be (N,); got {ours.shape}, {theirs.shape} and {labels.shape}")
    differences = ours.astype(np.float64) - theirs
    generator = numpy_generator("bootstrap", "answers")
    total = np.zeros(draws)
    for label in np.unique(labels):
        values, counts = np.unique(differences[labels == label], return_counts=True)
        total += generator.multinomial(counts.sum(), counts / counts.sum(), size=draws) @ values
    return percentiles(total / len(labels), level)


def intra_class_variance(moments: Moments) -> Tensor:
    """`dsabench.metrics.intra_class_variance` (B,) of moments."""
    return moments.variances.mean(dim=1)


def inter_class_separation(moments: Moments) -> Tensor:
    """`dsabench.metrics.inter_class_separation` (B,) of moments."""
    n = moments.squared.shape[1]
    return moments.squared.sum(dim=(1, 2)) / (n * (n - 1))


def fisher_ratio(moments: Moments) -> Tensor:
    """`dsabench.metrics.fisher_ratio` (B,) of moments."""
    # Over ordered pairs, n_a n_b times the squared distances sum to 2 N times the scatter about the centre.
    counts = moments.counts
    between = (moments.squared @ counts) @ counts / (2 * counts.sum())
    return between / (moments.variances @ counts)


OF_MOMENTS: Mapping[str, MomentMetric] = {
    "cdnv": moments_cdnv,
    "intra_class_variance": intra_class_variance,
    "inter_class_separation": inter_class_separation,
    "fisher_ratio": fisher_ratio,
}


@dataclass(frozen=True)
class Resampled:
    """The features (N, D) of one model and their classes (N,), under draws of images that are the same for all."""

    x: Tensor
    classes: Tensor
    draws: int = DRAWS

    @cached_property
    def values(self) -> dict[str, Floats]:
        """Each metric of `OF_MOMENTS` under every draw (B,), from one pass over the features."""
        weights = torch.from_numpy(image_weights(self.classes.numpy(), self.draws))
        blocks = [weighted_moments(self.x, self.classes, block) for block in torch.split(weights, BLOCK)]
        return {name: torch.cat([metric(block) for block in blocks]).numpy() for name, metric in OF_MOMENTS.items()}


def geometry_interval(
    metric: str, ours: Resampled, theirs: Resampled, difference: float, *, level: float = 0.95
) -> tuple[float, float]:
    """The interval (low, high) of the `difference` of a metric of `OF_MOMENTS` of two models over test images.

    The draws are moved so that their mean is the difference: repeated images move most metrics of geometry a little
    one way, which is no uncertainty. Unbounded where a draw is not finite, as after a collapse.
    """
    moved = ours.values[metric] - theirs.values[metric]
    if not (np.isfinite(moved).all() and math.isfinite(difference)):
        return -math.inf, math.inf
    return percentiles(difference + moved - moved.mean(), level)
