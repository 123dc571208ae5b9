"""How tight the classes are and how far apart; conventions and errors are those of the package's docstring."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from dsabench.metrics.prepare import Array, prepare, subsample


class ClassMoments(NamedTuple):
    """`counts` (C,), `means` (C, D) and `scatter` (C,), the summed squared distances of a class to its mean."""

    counts: Tensor
    means: Tensor
    scatter: Tensor


def class_moments(x: Array, y: Array, *, min_classes: int = 1) -> ClassMoments:
    """The moments of each class, up to a common shift of the means; linear in the number of samples."""
    features, codes, n_classes = prepare(x, y, min_classes=min_classes)
    # Distances know no origin. With a sample as the origin, features that are all alike become exact zeros, where
    # rounded means would turn a ratio of two zeros into a number.
    features = features - features[0]
    counts = torch.bincount(codes, minlength=n_classes).double()
    means = features.new_zeros(n_classes, features.shape[1]).index_add_(0, codes, features) / counts[:, None]
    # Summing squares about the mean, not subtracting its square, keeps the digits of tight classes.
    squares = (features - means[codes]).square().sum(dim=1)
    return ClassMoments(counts, means, features.new_zeros(n_classes).index_add_(0, codes, squares))


def intra_class_variance(x: Array, y: Array) -> float:
    """Mean over classes of the mean squared distance of features (N, D) to the mean of their class (N,)."""
    moments = class_moments(x, y)
    return float((moments.scatter / moments.counts).mean())


def inter_class_separation(x: Array, y: Array) -> float:
    """Mean squared distance between the class means of features (N, D), over pairs of distinct classes (N,)."""
    means = class_moments(x, y, min_classes=2).means
    # Over all ordered pairs the squared distances sum to 2 C times the squared distances to the centre.
    return float(2 * (means - means.mean(dim=0)).square().sum() / (len(means) - 1))


def cdnv(x: Array, y: Array) -> float:
    """Class-distance normalised variance of features (N, D) and classes (N,): Galanti et al. 2021, arXiv 2112.15121.

    The mean over ordered pairs of distinct classes of (Var_c + Var_c') / (2 ||mu_c - mu_c'||^2).
    """
    moments = class_moments(x, y, min_classes=2)
    variances = moments.scatter / moments.counts
    # The matrix product that cdist would otherwise use loses the digits of means that are close.
    distances = torch.cdist(moments.means, moments.means, compute_mode="donot_use_mm_for_euclid_dist")
    ratios = (variances[:, None] + variances) / (2 * distances.square())
    return float(ratios[~torch.eye(len(variances), dtype=torch.bool)].mean())


def fisher_ratio(x: Array, y: Array) -> float:
    """Trace of the between-class scatter over that of the within-class scatter, of features (N, D), classes (N,)."""
    counts, means, scatter = class_moments(x, y, min_classes=2)
    centre = (counts @ means) / counts.sum()
    between = counts @ (means - centre).square().sum(dim=1)
    return float(between / scatter.sum())


def alignment(x: Array, y: Array) -> float:
    """Mean squared distance over all pairs i != j of features (N, D) that share a class (N,), pooled over the pairs.

    The alignment of Wang and Isola 2020 (arXiv 2005.10242, alpha = 2) with classes for positives. Classes with one
    sample have no pair and are left out. Raises ValueError where no class has two samples.
    """
    counts, _, scatter = class_moments(x, y)
    pairs = (counts * (counts - 1)).sum()
    if pairs == 0:
        raise ValueError("alignment needs a class with at least 2 samples; every class here has one")
    # Over the ordered pairs of a class the squared distances sum to 2 n_c times its scatter.
    return float(2 * (counts @ scatter) / pairs)


def silhouette(x: Array, y: Array) -> float:
    """Mean silhouette (Rousseeuw 1987) of features (N, D) and classes (N,), in Euclidean distance, from -1 to 1.

    Above 10,000 samples on the subsample of the package's docstring, without the classes it holds one sample of.
    Raises ValueError where every sample is a class of its own.
    """
    from sklearn.metrics import silhouette_score

    features, codes, _ = prepare(x, y, min_classes=2)
    kept = subsample(len(features))
    if len(kept) < len(features):
        counts = torch.bincount(codes[kept])
        kept = kept[counts[codes[kept]] > 1]
    n_classes = len(torch.unique(codes[kept]))
    if not 2 <= n_classes < len(kept):
        raise ValueError(
            f"the silhouette needs at least 2 classes and fewer classes than samples; got {n_classes} classes "
            f"among {len(kept)} samples"
        )
    return float(silhouette_score(features[kept].numpy(), codes[kept].numpy()))


def davies_bouldin(x: Array, y: Array) -> float:
    """Davies-Bouldin index (1979) of features (N, D) and classes (N,), in Euclidean distance; nan where all class
    means coincide. Raises ValueError where every sample is a class of its own."""
    from sklearn.metrics import davies_bouldin_score

    features, codes, n_classes = prepare(x, y, min_classes=2)
    if n_classes == len(features):
        raise ValueError(f"the Davies-Bouldin index needs fewer classes than samples; got {n_classes} of each")
    means = class_moments(x, y).means
    # scikit-learn answers 0, the best value there is, for means this close, which would reward a collapse.
    if torch.cdist(means, means, compute_mode="donot_use_mm_for_euclid_dist").max() <= 1e-8:
        return float("nan")
    return float(davies_bouldin_score(features.numpy(), codes.numpy()))
