"""Crowding and geometry of features: functions `(x, y) -> float` of features (N, D) and classes (N,).

Classes may be integers or words. Every function L2-normalises the rows of `x` first (a row of zeros stays one) and
computes in float64 on the CPU, in memory that does not grow with N; `measure(x, y)` computes the core metrics, or those
that are named, and reads the features once for what they share.
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

`alignment` is no core metric, for it says what `intra_class_variance` says (r = .99998 over the runs on digits).

A class with one sample has Var_c = 0, scores 0 in the silhouette and is left out of the alignment. `silhouette` and
`uniformity` need every pair, so above 10,000 samples they use 10,000 drawn without replacement from all those given,
by a generator of fixed seed that sees neither features nor classes: arms of equal size are scored on the same samples.
Where a ratio is x / 0 the value is inf, and where it is 0 / 0 (collapsed features) nan.

All raise ValueError for shapes that do not fit, features that are not finite, fewer than two samples and, where
classes are compared, fewer than two classes.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from dsabench.evaluators import Evaluator
from dsabench.registry import load

if TYPE_CHECKING:
    from dsabench.metrics.samples import Array, Labels, Metric

METRICS: dict[str, Evaluator] = {
    "intra_class_variance": Evaluator(
        "dsabench.metrics.crowding:intra_class_variance",
        "mean squared distance of a sample to its class mean",
        label="intra-class var.",
        higher_is_better=False,
        source="2407.13541",
        kind="metric",
        needs=("test",),
    ),
    "inter_class_separation": Evaluator(
        "dsabench.metrics.crowding:inter_class_separation",
        "mean squared distance between two class means",
        label="inter-class sep.",
        higher_is_better=True,
        source="2407.13541",
        kind="metric",
        needs=("test",),
    ),
    "cdnv": Evaluator(
        "dsabench.metrics.crowding:cdnv",
        "class-distance normalised variance: the crowding of two classes",
        label="CDNV",
        higher_is_better=False,
        source="2112.15121",
        kind="metric",
        needs=("test",),
    ),
    "fisher_ratio": Evaluator(
        "dsabench.metrics.crowding:fisher_ratio",
        "scatter between the classes over scatter within them",
        label="Fisher ratio",
        higher_is_better=True,
        source="Fisher 1936",
        kind="metric",
        needs=("test",),
    ),
    "silhouette": Evaluator(
        "dsabench.metrics.crowding:silhouette",
        "own class against the nearest other, -1 to 1",
        label="silhouette",
        higher_is_better=True,
        source="Rousseeuw 1987",
        kind="metric",
        needs=("test",),
    ),
    "davies_bouldin": Evaluator(
        "dsabench.metrics.crowding:davies_bouldin",
        "spread over distance, for the worst neighbour of each class",
        label="Davies-Bouldin",
        higher_is_better=False,
        source="Davies and Bouldin 1979",
        kind="metric",
        needs=("test",),
    ),
    "uniformity": Evaluator(
        "dsabench.metrics.geometry:uniformity",
        "how evenly the features cover the sphere",
        label="uniformity",
        higher_is_better=None,
        source="2005.10242",
        kind="metric",
        needs=("test",),
    ),
    "rankme": Evaluator(
        "dsabench.metrics.geometry:rankme",
        "effective rank of the features; low means collapse",
        label="RankMe",
        higher_is_better=None,
        source="2210.02885",
        kind="metric",
        needs=("test",),
    ),
    "feature_std": Evaluator(
        "dsabench.metrics.geometry:feature_std",
        "mean standard deviation; 0 means collapse",
        label="feature std",
        higher_is_better=None,
        source="2011.10566",
        kind="metric",
        needs=("test",),
    ),
    "alignment": Evaluator(
        "dsabench.metrics.crowding:alignment",
        "mean squared distance of two samples of a class",
        label="alignment",
        higher_is_better=False,
        source="2005.10242",
        kind="metric",
        needs=("test",),
        tier="extra",
    ),
}

__all__ = ["METRICS", "measure", *METRICS]


def measure(x: Array, y: Labels, names: Iterable[str] | None = None) -> dict[str, float]:
    """Metrics of features (N, D) and classes (N,), the core ones where none are named.

    Raises ValueError where one of them does, and UsageError for a name that is not a metric's.
    """
    from dsabench.metrics.samples import Samples

    chosen = [name for name, entry in METRICS.items() if entry.tier == "core"] if names is None else list(names)
    metrics = {name: load(METRICS, "metric", name) for name in chosen}
    samples = Samples(x, y).read_once()
    return {name: metric.of(samples) for name, metric in metrics.items()}


def __getattr__(name: str) -> Metric:
    # Listing the metrics must not import torch, so a function is imported when it is asked for.
    if name in METRICS:
        metric: Metric = load(METRICS, "metric", name)
        return metric
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
