"""How tight the classes are and how far apart; conventions and errors are those of the package's docstring."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from dsabench.metrics.distances import BLOCK_ROWS, pairwise
from dsabench.metrics.samples import Metric, Samples

# What scikit-learn may take for the distances of one block of pairs.
PAIRS_MIB = 64
# It takes distances from inner products of unit rows, which are off by 1e-8 where they are small.
CLOSE = 1e-4


@Metric
def intra_class_variance(samples: Samples) -> float:
    """Mean over classes of the mean squared distance of features (N, D) to the mean of their class (N,).

    The paper's intra-class variance (arXiv 2407.13541). Lower is tighter; O(N D), in the pass that most metrics share.
    """
    return float(samples.moments.variances.mean())


@Metric
def inter_class_separation(samples: Samples) -> float:
    """Mean squared distance between the class means of features (N, D), over pairs of distinct classes (N,).

    The paper's inter-class separation (arXiv 2407.13541). Higher is better; O(N D), in the pass that most metrics
    share.
    """
    means = samples.compared().moments.means
    # Over all ordered pairs the squared distances sum to 2 C times the squared distances to the centre.
    return float(2 * (means - means.mean(dim=0)).square().sum() / (len(means) - 1))


@Metric
def cdnv(samples: Samples) -> float:
    """Class-distance normalised variance of features (N, D) and classes (N,): Galanti et al. 2021, arXiv 2112.15121.

    The mean over ordered pairs of distinct classes of (Var_c + Var_c') / (2 ||mu_c - mu_c'||^2). Lower is better;
    O(N D), in the pass that most metrics share, and O(C^2 D).
    """
    ratios = pairwise_cdnv(samples)
    return float(ratios[~torch.eye(len(ratios), dtype=torch.bool)].mean())


def pairwise_cdnv(samples: Samples) -> Tensor:
    """The CDNV (C, C) float64 of each two classes, symmetric: who crowds whom. The diagonal means nothing."""
    moments = samples.compared().moments
    variances = moments.variances
    return (variances[:, None] + variances) / (2 * pairwise(moments.means, moments.means).square())


@Metric
def fisher_ratio(samples: Samples) -> float:
    """Trace of the between-class scatter over that of the within-class scatter, of features (N, D), classes (N,).

    Fisher 1936, in traces. Higher is better; O(N D), in the pass that most metrics share.
    """
    moments = samples.compared().moments
    between = moments.counts @ (moments.means - moments.centre).square().sum(dim=1)
    return float(between / moments.scatter.sum())


@Metric
def alignment(samples: Samples) -> float:
    """Mean squared distance over all pairs i != j of features (N, D) that share a class (N,), pooled over the pairs.

    The alignment of Wang and Isola 2020 (arXiv 2005.10242, alpha = 2) with classes for positives. Classes with one
    sample have no pair and are left out. Lower is tighter; O(N D), in the pass that most metrics share. Raises
    ValueError where no class has two samples.
    """
    counts, scatter = samples.moments.counts, samples.moments.scatter
    pairs = (counts * (counts - 1)).sum()
    if pairs == 0:
        raise ValueError("alignment needs a class with at least 2 samples; every class here has one")
    # Over the ordered pairs of a class the squared distances sum to 2 n_c times its scatter.
    return float(2 * (counts @ scatter) / pairs)


@Metric
def silhouette(samples: Samples) -> float:
    """Mean silhouette (Rousseeuw 1987) of features (N, D) and classes (N,), in Euclidean distance, from -1 to 1.

    Higher is better; O(K^2 D) by blocks of rows, for K samples: above 10,000 on the subsample of the package's
    docstring, without the classes it holds one sample of.
    Raises ValueError where every sample is a class of its own.
    """
    from sklearn import config_context
    from sklearn.metrics import silhouette_score

    rows, codes = samples.compared().paired
    if len(rows) < len(samples):
        common = torch.bincount(codes)[codes] > 1
        rows, codes = rows[common], codes[common]
    n_classes = len(torch.unique(codes))
    if not 2 <= n_classes < len(rows):
        raise ValueError(
            f"the silhouette needs at least 2 classes and fewer classes than samples; got {n_classes} classes "
            f"among {len(rows)} samples"
        )
    if _reach(samples) < CLOSE:
        return _silhouette(rows, codes)
    with config_context(working_memory=PAIRS_MIB):
        return float(silhouette_score(rows.numpy(), codes.numpy()))


def _reach(samples: Samples) -> float:
    """How far the two nearest classes reach together: the distance of their means and the spread of both."""
    moments = samples.moments
    spread = moments.variances.sqrt()
    return float((pairwise(moments.means, moments.means) + spread[:, None] + spread).fill_diagonal_(torch.inf).min())


def _silhouette(rows: Tensor, codes: Tensor) -> float:
    """The mean silhouette of rows (K, D) of classes (K,), from distances that keep their digits however small."""
    members = one_hot(torch.unique(codes, return_inverse=True)[1]).double()
    counts = members.sum(dim=0)
    total = 0.0
    for start in range(0, len(rows), BLOCK_ROWS):
        block = slice(start, start + BLOCK_ROWS)
        own, sums = members[block], pairwise(rows[block], rows) @ members
        others = (counts @ own.T)[:, None].sub_(1).clamp_(min=1)
        a = (own * sums).sum(dim=1, keepdim=True) / others
        b = (sums / counts).masked_fill_(own.bool(), torch.inf).min(dim=1, keepdim=True).values
        # As in scikit-learn, a sample that is alone in its class scores 0, and one that coincides with all others.
        alone = (own @ counts)[:, None] == 1
        total += float(((b - a) / torch.maximum(a, b)).masked_fill(alone, 0.0).nan_to_num(0.0).sum())
    return total / len(rows)


@Metric
def davies_bouldin(samples: Samples) -> float:
    """Davies and Bouldin 1979: mean over classes of the worst (s_c + s_d) / ||mu_c - mu_d||, s_c the mean distance to
    mu_c, of features (N, D) and classes (N,).

    Lower is better; O(N D) in a second pass. nan where all class means coincide. Raises ValueError where every sample
    is a class of its own.
    """
    moments = samples.compared().moments
    if samples.n_classes == len(samples):
        raise ValueError(f"the Davies-Bouldin index needs fewer classes than samples; got {len(samples)} of each")
    distances = pairwise(moments.means, moments.means)
    # A collapse must not score 0, the best value there is.
    if distances.max() == 0:
        return float("nan")
    # The one metric that needs the means before it can read the features: a pass of its own.
    radii = torch.zeros_like(moments.counts)
    for rows, codes in samples.blocks():
        radii.index_add_(0, codes, torch.linalg.vector_norm(rows - samples.origin - moments.means[codes], dim=1))
    radii /= moments.counts
    # As in scikit-learn, two classes with one mean are not compared.
    ratios = (radii[:, None] + radii) / torch.where(distances == 0, torch.inf, distances)
    return float(ratios.max(dim=1).values.mean())
