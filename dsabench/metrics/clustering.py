"""Whether classes are what k-means finds: three scores of one clustering, in as many clusters as there are classes.

scikit-learn's k-means on unit rows, the best of ten seeded starts; above 10,000 samples on the subsample of the
package's docstring. The clustering is shared: O(K C D) for each step of each start, 7 s in all on one core for 10,000
samples of 512 dimensions in 10 classes. Starts are drawn by position, so the order of the samples matters a
little where the classes are no clusters. Scores are between 0 and 1 (the adjusted Rand index may be below 0),
higher is better.
"""

from __future__ import annotations

import warnings

import torch
from torch import Tensor

from dsabench.metrics.samples import Metric, Samples

STARTS, SEED = 10, 0


@Metric
def kmeans_nmi(samples: Samples) -> float:
    """Mutual information of clusters of features (N, D) and classes (N,), over the mean of their entropies.

    Strehl and Ghosh 2002, with the arithmetic mean. Higher is better, 1 where clusters are classes; O(K C D) a step.
    """
    from sklearn.metrics import normalized_mutual_info_score

    codes, clusters = samples.once(_clustered)
    return float(normalized_mutual_info_score(codes.numpy(), clusters.numpy()))


@Metric
def kmeans_ari(samples: Samples) -> float:
    """Adjusted Rand index of clusters of features (N, D) and classes (N,): Hubert and Arabie 1985.

    Higher is better, 0 by chance, 1 where clusters are classes; O(K C D) a step.
    """
    from sklearn.metrics import adjusted_rand_score

    codes, clusters = samples.once(_clustered)
    return float(adjusted_rand_score(codes.numpy(), clusters.numpy()))


@Metric
def kmeans_accuracy(samples: Samples) -> float:
    """Share of features (N, D) in the cluster of their class (N,), clusters and classes matched best: Kuhn 1955.

    Higher is better; O(K C D) a step, and O(C^3) for the matching.
    """
    from scipy.optimize import linear_sum_assignment

    codes, clusters = samples.once(_clustered)
    table = torch.zeros(samples.n_classes, samples.n_classes, dtype=torch.int64)
    table.index_put_((codes, clusters), torch.ones_like(codes), accumulate=True)
    rows, columns = linear_sum_assignment(table.numpy(), maximize=True)
    return float(table[rows, columns].sum()) / len(codes)


def _clustered(samples: Samples) -> tuple[Tensor, Tensor]:
    """Classes and clusters (K,) of the samples whose pairs are looked at."""
    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning

    rows, codes = samples.compared().paired
    if len(rows) < samples.n_classes:
        raise ValueError(f"k-means needs a sample for each of {samples.n_classes} clusters; got {len(rows)}")
    with warnings.catch_warnings():
        # Fewer distinct samples than classes are what a collapse looks like, and scored as such.
        warnings.simplefilter("ignore", ConvergenceWarning)
        found = KMeans(samples.n_classes, n_init=STARTS, random_state=SEED).fit_predict((rows - samples.origin).numpy())
    return codes, torch.from_numpy(found).long()
