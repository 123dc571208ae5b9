"""What a search among the samples finds, in Euclidean distance on unit rows, which ranks as the cosine does.

Samples that are equally far, up to rounding, count with their share: each value is the mean over all orders of the
ties (McSherry and Najork 2008), so it does not depend on the order of the samples. Above 10,000 samples on the
subsample of the package's docstring; O(K^2 D) for K samples in memory bounded by blocks of rows, with 10,000 of 512
dimensions 10 to 20 s a metric on one core, and a minute where samples nearly coincide.
"""

from __future__ import annotations

import torch
from torch import Tensor

from dsabench.metrics.distances import nearer_and_level, nearly_coincide, squared_distances
from dsabench.metrics.samples import Metric, Samples


@Metric
def r_precision(samples: Samples) -> float:
    """Mean over features (N, D) of the share of class (N,) mates among the R nearest, R the number of mates there are.

    The R-precision of retrieval (Musgrave et al. 2020, arXiv 2003.08505). Between 0 and 1, higher is
    better; O(K^2 D). Samples without a mate are left out; raises ValueError where none has one.
    """
    rows, codes = samples.compared().paired
    mates = _mates(codes)
    total = torch.zeros((), dtype=torch.float64)
    for block, distances in squared_distances(rows, exactly=samples.once(nearly_coincide)):
        same, wanted = codes[block, None] == codes, mates[block].clamp(min=1)
        last = _nth_smallest(distances, wanted)
        nearer, level = nearer_and_level(distances, last)
        share = (wanted - nearer.sum(dim=1)).double() / level.sum(dim=1)
        hits = (nearer & same).sum(dim=1) + share * (level & same).sum(dim=1)
        total += (hits / wanted)[mates[block] > 0].sum()
    return float(total / (mates > 0).sum())


@Metric
def map_at_k(samples: Samples, k: int = 10) -> float:
    """Mean average precision of the `k` nearest of features (N, D), for those of the same class (N,).

    AP = sum over ranks p <= k that hold a mate of (mates up to p) / p, over min(k, mates there are): Manning et al.
    2008, chapter 8, cut at k. Between 0 and 1, higher is better; O(K^2 D). Samples without a mate are left out;
    raises ValueError where none has one.
    """
    rows, codes = samples.compared().paired
    mates = _mates(codes)
    depth = min(k, len(codes) - 1)
    total = torch.zeros((), dtype=torch.float64)
    for block, distances in squared_distances(rows, exactly=samples.once(nearly_coincide)):
        same = codes[block, None] == codes
        found = torch.zeros(len(distances), dtype=torch.float64)
        for rank, at in enumerate(distances.topk(depth, largest=False).values.T[:, :, None], start=1):
            nearer, level = nearer_and_level(distances, at)
            before, tied = nearer.sum(dim=1), level.sum(dim=1)
            mates_before, mates_tied = (nearer & same).sum(dim=1), (level & same).sum(dim=1)
            # A tied rank holds a mate with probability mates_tied / tied, with this many more before it in the tie.
            more = (rank - before - 1).double() * (mates_tied - 1).clamp(min=0) / (tied - 1).clamp(min=1)
            found += mates_tied.double() / tied * (mates_before + more + 1) / rank
        total += (found / mates[block].clamp(min=1, max=depth))[mates[block] > 0].sum()
    return float(total / (mates > 0).sum())


@Metric
def hubness(samples: Samples, k: int = 10) -> float:
    """Skewness over features (N, D) of how often each is among the `k` nearest of another: a few hubs make it large.

    E (N_k - k)^3 / std(N_k)^3: Radovanovic et al. 2010 (JMLR 11). Lower is better, about 0 without hubs; O(K^2 D).
    It grows with the intrinsic dimension and with N. `y` (N,) is checked and not used. Raises ValueError where there
    are no more than k + 1 samples; nan where all occur equally often.
    """
    rows, _ = samples.paired
    if len(rows) <= k + 1:
        raise ValueError(f"the hubness of {k} neighbours needs more than {k + 1} samples; got {len(rows)}")
    occurrence = torch.zeros(len(rows), dtype=torch.float64)
    for _, distances in squared_distances(rows, exactly=samples.once(nearly_coincide)):
        last = distances.topk(k, largest=False).values[:, -1:]
        nearer, level = nearer_and_level(distances, last)
        share = (k - nearer.sum(dim=1, keepdim=True)).double() / level.sum(dim=1, keepdim=True)
        occurrence += (nearer + share * level).sum(dim=0)
    apart = occurrence - k
    variance = apart.square().mean()
    # Shares of ties add up to k with a rounding that is no spread.
    return float(apart.pow(3).mean() / variance.pow(1.5)) if variance > 1e-20 else float("nan")


def _mates(codes: Tensor) -> Tensor:
    """How many others share the class of each sample, (K,); raises ValueError where no sample has one."""
    mates = torch.bincount(codes)[codes] - 1
    if not mates.any():
        raise ValueError("retrieval needs a class with at least 2 samples; every class here has one")
    return mates


def _nth_smallest(values: Tensor, n: Tensor) -> Tensor:
    """The n-th smallest, (B, 1), of each row of values (B, K), for n (B,) from 1."""
    return values.topk(int(n.max()), largest=False).values.gather(1, n[:, None] - 1)
