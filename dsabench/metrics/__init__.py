"""Crowding and geometry of features: functions `(x, y) -> float` of features (N, D) and classes (N,).

Classes may be integers or words. Every function L2-normalises the rows of `x` first (a row of zeros stays one, and
what is the first row up to rounding is the first row) and computes in float64 on the CPU, in memory that grows with N
by some bytes a label and not by the features; `measure(x, y)` computes the core metrics, or those that are named, and
reads the features once for what they share.
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

Those are the core, and `alignment`, which is none for it says what `intra_class_variance` says (r = .99998 over the
runs on digits). The others, each with its formula, source, direction and cost in its docstring, are in the modules
`overlap`, `collapse`, `retrieval`, `clustering` and `spectrum`.

A class with one sample has Var_c = 0, scores 0 in the silhouette and is left out of the alignment. Metrics that need
every pair (`silhouette`, `uniformity`, `intrinsic_dimension`, retrieval and clustering) look, above 10,000 samples, at
10,000 drawn without replacement from all those given, by a generator of fixed seed that sees neither features nor
classes: arms of equal size are scored on the same samples.
Where a ratio is x / 0 the value is inf (or above 1e24, where the 0 is the rounding of a mean), and where it is 0 / 0
(collapsed features) nan. What is equally far up to rounding is equally far.

All raise ValueError for shapes that do not fit, features that are not finite, fewer than two samples and, where
classes are compared, fewer than two classes.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from dsabench.evaluators import Evaluator
from dsabench.registry import Scalar, load

if TYPE_CHECKING:
    from dsabench.metrics.samples import Array, Labels, Metric


def _core(
    target: str, summary: str, label: str, higher_is_better: bool | None, source: str, formula: str, cost: str
) -> Evaluator:
    where = f"dsabench.metrics.{target}"
    return Evaluator(where, summary, label, higher_is_better, source, "metric", ("test",), formula=formula, cost=cost)


def _extra(
    target: str,
    summary: str,
    label: str,
    higher_is_better: bool | None,
    source: str,
    formula: str,
    cost: str,
    **options: Scalar,
) -> Evaluator:
    return _core(target, summary, label, higher_is_better, source, formula, cost)._replace(
        tier="extra", options=options
    )


METRICS: dict[str, Evaluator] = {
    "intra_class_variance": _core(
        "crowding:intra_class_variance",
        "mean squared distance of a sample to its class mean",
        "intra-class var.",
        False,
        "2407.13541",
        "mean_c V_c",
        "O(N D)",
    ),
    "inter_class_separation": _core(
        "crowding:inter_class_separation",
        "mean squared distance between two class means",
        "inter-class sep.",
        True,
        "2407.13541",
        "mean_(c<d) |m_c - m_d|^2",
        "O(N D)",
    ),
    "cdnv": _core(
        "crowding:cdnv",
        "class-distance normalised variance: the crowding of two classes",
        "CDNV",
        False,
        "2112.15121",
        "mean_(c!=d) (V_c + V_d) / (2 |m_c - m_d|^2)",
        "O(N D)",
    ),
    "fisher_ratio": _core(
        "crowding:fisher_ratio",
        "scatter between the classes over scatter within them",
        "Fisher ratio",
        True,
        "Fisher 1936",
        "sum_c n_c |m_c - m|^2 / sum_c n_c V_c",
        "O(N D)",
    ),
    "silhouette": _core(
        "crowding:silhouette",
        "own class against the nearest other, -1 to 1",
        "silhouette",
        True,
        "Rousseeuw 1987",
        "mean_i (b_i - a_i) / max(a_i, b_i)",
        "O(K^2 D)",
    ),
    "davies_bouldin": _core(
        "crowding:davies_bouldin",
        "spread over distance, for the worst neighbour of each class",
        "Davies-Bouldin",
        False,
        "Davies and Bouldin 1979",
        "mean_c max_d (s_c + s_d) / |m_c - m_d|",
        "O(N D)",
    ),
    "uniformity": _core(
        "geometry:uniformity",
        "how evenly the features cover the sphere",
        "uniformity",
        None,
        "2005.10242",
        "log mean_(i!=j) exp(-2 |x_i - x_j|^2)",
        "O(K^2 D)",
    ),
    "rankme": _core(
        "geometry:rankme",
        "effective rank of the features; low means collapse",
        "RankMe",
        None,
        "2210.02885",
        "exp H(s / sum s), s singular values of x",
        "O(N D^2)",
    ),
    "feature_std": _core(
        "geometry:feature_std",
        "mean standard deviation; 0 means collapse",
        "feature std",
        None,
        "2011.10566",
        "mean over dimensions of std_i x_i",
        "O(N D)",
    ),
    "alignment": _extra(
        "crowding:alignment",
        "mean squared distance of two samples of a class",
        "alignment",
        False,
        "2005.10242",
        "mean |x_i - x_j|^2 over the pairs of a class",
        "O(N D)",
    ),
    "directional_cdnv": _extra(
        "overlap:directional_cdnv",
        "CDNV along the line between two class means",
        "directional CDNV",
        False,
        "2506.04411",
        "mean_(c!=d) E_c ((x - m_c).(m_c - m_d))^2 / |m_c - m_d|^4",
        "O(N C D)",
    ),
    "nearest_class_gap": _extra(
        "overlap:nearest_class_gap",
        "squared distance to the nearest other class mean",
        "nearest-class gap",
        True,
        "after 2407.13541",
        "mean_c min_d |m_c - m_d|^2",
        "O(N D)",
    ),
    "class_overlap": _extra(
        "overlap:class_overlap",
        "share of samples no nearer to their own class mean",
        "class overlap",
        False,
        "2008.08186",
        "mean_i [min_d |x_i - m_d| <= |x_i - m_y|]",
        "O(N C D)",
    ),
    "calinski_harabasz": _extra(
        "overlap:calinski_harabasz",
        "variance ratio of classes, by degrees of freedom",
        "Calinski-Harabasz",
        True,
        "Calinski and Harabasz 1974",
        "Fisher ratio x (N - C) / (C - 1)",
        "O(N D)",
    ),
    "nc1": _extra(
        "collapse:nc1",
        "neural collapse of variability: spread within classes over that between",
        "NC1",
        False,
        "2008.08186",
        "tr(S_W S_B^+) / C",
        "O(N C D)",
    ),
    "nc2": _extra(
        "collapse:nc2",
        "distance of class means from a simplex ETF",
        "NC2",
        False,
        "2008.08186",
        "|G / |G| - E|, G = M M^T, E of a simplex ETF",
        "O(N D)",
    ),
    "nc2_equinorm": _extra(
        "collapse:nc2_equinorm",
        "how unequal the lengths of centred class means are",
        "NC2 norms",
        False,
        "2008.08186",
        "std_c |m_c - m| / mean_c |m_c - m|",
        "O(N D)",
    ),
    "r_precision": _extra(
        "retrieval:r_precision",
        "share of class mates among the R nearest",
        "R-precision",
        True,
        "2003.08505",
        "mean_i mates among the R_i nearest / R_i",
        "O(K^2 D)",
    ),
    "map_at_k": _extra(
        "retrieval:map_at_k",
        "mean average precision of the k nearest",
        "mAP",
        True,
        "Manning et al. 2008",
        "mean_i sum_(p<=k) precision_p [mate at p] / min(k, R_i)",
        "O(K^2 D)",
        k=10,
    ),
    "hubness": _extra(
        "retrieval:hubness",
        "skew of how often a sample is a neighbour",
        "hubness",
        False,
        "Radovanovic et al. 2010",
        "E (n_i - k)^3 / std(n_i)^3",
        "O(K^2 D)",
        k=10,
    ),
    "kmeans_nmi": _extra(
        "clustering:kmeans_nmi",
        "k-means against classes, mutual information",
        "k-means NMI",
        True,
        "Strehl and Ghosh 2002",
        "I / mean of both entropies",
        "O(K C D)",
    ),
    "kmeans_ari": _extra(
        "clustering:kmeans_ari",
        "k-means against classes, adjusted Rand index",
        "k-means ARI",
        True,
        "Hubert and Arabie 1985",
        "(pairs - chance) / (most - chance)",
        "O(K C D)",
    ),
    "kmeans_accuracy": _extra(
        "clustering:kmeans_accuracy",
        "k-means against classes, best matching",
        "k-means acc.",
        True,
        "Kuhn 1955",
        "max over matchings of the share matched",
        "O(K C D)",
    ),
    "effective_rank": _extra(
        "spectrum:effective_rank",
        "exp of the entropy of the covariance's spectrum",
        "effective rank",
        None,
        "Roy and Vetterli 2007",
        "exp H(l / sum l), l eigenvalues of cov x",
        "O(N D^2)",
    ),
    "alpha_req": _extra(
        "spectrum:alpha_req",
        "decay of the covariance's spectrum; near 1 is best",
        "alpha-ReQ",
        None,
        "Agrawal et al. 2022",
        "-slope of log l_j on log j",
        "O(N D^2)",
    ),
    "anisotropy": _extra(
        "spectrum:anisotropy",
        "mean cosine of two samples; 1 in a cone",
        "anisotropy",
        None,
        "1909.00512",
        "mean_(i!=j) x_i.x_j",
        "O(N D)",
    ),
    "intrinsic_dimension": _extra(
        "spectrum:intrinsic_dimension",
        "dimension of the manifold, by TwoNN",
        "intrinsic dim.",
        None,
        "1803.06992",
        "slope of -log(1 - F) on log(r_2 / r_1)",
        "O(K^2 D)",
    ),
}

__all__ = ["METRICS", "measure", *METRICS]


ELSEWHERE = (
    "dsabench list metrics; probes, such as knn, learn from training images first: "
    "dsabench.evaluate(module, data, probes=['knn']), or of embeddings dsabench eval --features FILE"
)


def measure(x: Array, y: Labels, names: Iterable[str] | str | None = None) -> dict[str, float]:
    """Metrics of features (N, D) and classes (N,), the core ones where none are named; one may be named alone.

    Raises ValueError where one of them does, and UsageError for a name that is not a metric's.
    """
    from dsabench.metrics.samples import Samples

    if isinstance(names, str):
        names = [names]
    chosen = [name for name, entry in METRICS.items() if entry.tier == "core"] if names is None else list(names)
    metrics = {name: load(METRICS, "metric", name, see=ELSEWHERE) for name in chosen}
    samples = Samples(x, y).read_once()
    return {name: metric.of(samples) for name, metric in metrics.items()}


def __getattr__(name: str) -> Metric:
    # Listing the metrics must not import torch, so a function is imported when it is asked for.
    if name in METRICS:
        metric: Metric = load(METRICS, "metric", name)
        return metric
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
