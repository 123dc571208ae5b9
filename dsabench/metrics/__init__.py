"""Crowding and geometry of features: functions `(x, y) -> float` of features (N, D) and integer classes (N,).

Every function L2-normalises the rows of `x` first (a row of zeros stays one) and computes in float64 on the CPU, in
memory that does not grow with N; `measure(x, y)` computes them all and reads the features once for what they share.
With Var_c the mean squared distance of class c to its mean mu_c, mu the mean of all samples, C classes:

- `intra_class_variance`: mean over c of Var_c
- `inter_class_separation`: mean over c < c' of ||mu_c - mu_c'||^2
- `cdnv`: mean over c != c' of (Var_c + Var_c') / (2 ||mu_c - mu_c'||^2)
- `fisher_ratio`: sum_c n_c ||mu_c - mu||^2 / sum_c n_c Var_c
- `silhouette`: mean over samples of (b - a) / max(a, b), the mean distances to its own and to the nearest other class
- `davies_bouldin`: mean over c of max over c' of (s_c + s_c') / ||mu_c - mu_c'||, s_c the mean distance to mu_c
- `alignment`: mean over all pairs i != j of one class of ||x_i - x_j||^2
- `uniformity`: log of the mean over i != j of exp(-2 ||x_i - x_j||^2)
- `rankme`: exp of the entropy of the singular values, taken as shares of their sum
- `feature_std`: mean over dimensions of the standard deviation over samples

A class with one sample has Var_c = 0, scores 0 in the silhouette and is left out of the alignment. `silhouette` and
`uniformity` need every pair, so above 10,000 samples they use 10,000 drawn without replacement from all those given,
by a generator of fixed seed that sees neither features nor classes: arms of equal size are scored on the same samples.
Where a ratio is x / 0 the value is inf, and where it is 0 / 0 (collapsed features) nan.

All raise ValueError for shapes that do not fit, features that are not finite, fewer than two samples and, where
classes are compared, fewer than two classes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dsabench.registry import Entry, load

if TYPE_CHECKING:
    from dsabench.metrics.crowding import (
        alignment,
        cdnv,
        davies_bouldin,
        fisher_ratio,
        inter_class_separation,
        intra_class_variance,
        silhouette,
    )
    from dsabench.metrics.geometry import feature_std, rankme, uniformity
    from dsabench.metrics.samples import Array

# Metrics of geometry are the values of a probe of this name.
CROWDING = "crowding"

__all__ = [
    "CROWDING",
    "METRICS",
    "alignment",
    "cdnv",
    "davies_bouldin",
    "feature_std",
    "fisher_ratio",
    "inter_class_separation",
    "intra_class_variance",
    "measure",
    "rankme",
    "silhouette",
    "uniformity",
]

METRICS: dict[str, Entry] = {
    "intra_class_variance": Entry(
        "dsabench.metrics.crowding:intra_class_variance", "mean squared distance of a sample to its class mean", False
    ),
    "inter_class_separation": Entry(
        "dsabench.metrics.crowding:inter_class_separation", "mean squared distance between two class means", True
    ),
    "cdnv": Entry(
        "dsabench.metrics.crowding:cdnv", "class-distance normalised variance: the crowding of two classes", False
    ),
    "fisher_ratio": Entry(
        "dsabench.metrics.crowding:fisher_ratio", "scatter between the classes over scatter within them", True
    ),
    "silhouette": Entry("dsabench.metrics.crowding:silhouette", "own class against the nearest other, -1 to 1", True),
    "davies_bouldin": Entry(
        "dsabench.metrics.crowding:davies_bouldin", "spread over distance, for the worst neighbour of each class", False
    ),
    "alignment": Entry("dsabench.metrics.crowding:alignment", "mean squared distance of two samples of a class", False),
    "uniformity": Entry("dsabench.metrics.geometry:uniformity", "how evenly the features cover the sphere"),
    "rankme": Entry("dsabench.metrics.geometry:rankme", "effective rank of the features; low means collapse"),
    "feature_std": Entry("dsabench.metrics.geometry:feature_std", "mean standard deviation; 0 means collapse"),
}


def measure(x: Array, y: Array) -> dict[str, float]:
    """Every metric of features (N, D) and classes (N,); raises ValueError where one of them does."""
    from dsabench.metrics.samples import Samples

    samples = Samples(x, y).read_once()
    return {name: load(METRICS, "metric", name).of(samples) for name in METRICS}


def __getattr__(name: str) -> Any:
    # Listing the metrics must not import torch, so a function is imported when it is asked for.
    if name in METRICS:
        return load(METRICS, "metric", name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
