"""The parts of DSA (arXiv 2407.13541) as they are defined: pure functions of features and embeddings.

Written to be read and to be tested against, in O(N^2) memory. What a run computes in their place, faster and to the
same values, is in `neighbourhoods` and `adjustment`.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from dsabench.checks import require, require_positive

# Cosines that are equal to this are ties.
TIE = 2.0**-40

# Below this squared distance (in units of the type's epsilon) two unit vectors are the same point: what is left
# of 2 - 2 cos there is rounding, and its square root would be a distance with a gradient of noise.
COINCIDENT_EPS = 8.0


def good_neighbour_scores(u: Tensor, k: int, mu: float) -> Tensor:
    """How well connected each sample is, s (N,) in [0, 1], from features `u` (N, P); outliers get little.

    With A the adjacency of the k nearest by cosine, self excluded, and P = A @ A, which counts two-step paths,
    s_i = (1 / k) sum_j A_ij [P_ji > mu]. Ties go to the lower index. It has no gradient.
    Raises ValueError unless `u` is a finite matrix and 1 <= k <= N - 1.
    """
    near = adjacency(u, k, include_self=False)
    paths = near @ near
    return (near * (paths.T > mu)).sum(dim=1).div(k).to(u)


def shared_neighbour_similarity(u: Tensor, k: int) -> Tensor:
    """T (N, N) in [0, 1] of features `u` (N, P): min(1, 2 J), J the Jaccard index of two samples' neighbourhoods.

    A neighbourhood is the sample itself and its k - 1 nearest by cosine: with A their adjacency and I = A A^T,
    J = I / (2k - I), and T_ii = 1. Ties go to the lower index. It has no gradient.
    Raises ValueError unless `u` is a finite matrix and 1 <= k <= N - 1.
    """
    near = adjacency(u, k, include_self=True)
    shared = near @ near.T
    return (2 * shared / (2 * k - shared)).clamp(max=1.0).to(u)


def exponential_similarity(u1: Tensor, u2: Tensor, temperature: float) -> Tensor:
    """The published prior T (N, N) = exp(-||u1_i - u2_j|| / temperature), in (0, 1], of two views' features (N, P).

    Features are normalised first; where two coincide T is 1 with a zero gradient.
    Raises ValueError for shapes that do not fit and a temperature that is not above 0.
    """
    require(
        u1.ndim == u2.ndim == 2 and u1.shape[1] == u2.shape[1],
        f"expected features of shape (N, P) for both views, got {tuple(u1.shape)} and {tuple(u2.shape)}",
    )
    require_positive(temperature=temperature)
    distance = pairwise_distance(functional.normalize(u1, dim=1), functional.normalize(u2, dim=1))
    return torch.exp(-distance / temperature)


def adjustment_loss(z: Tensor, similarity: Tensor, scores: Tensor, temperature: float) -> Tensor:
    """The adjustment loss L_adj (): pulls pairs of similarity above 1/2 together, pushes pairs below it apart.

    `z` (R, D) are embeddings, the two views of a batch stacked (R = 2N); `similarity` (R, R) is any real matrix, M or
    T, and `scores` (R,) weigh the rows. With d_ij = ||z_i - z_j|| of the normalised embeddings it is
    log(1 + sum_{i != j} exp(s_i (2 M_ij - 1) d_ij / temperature) / R^2), with a gradient for all three. Where two
    points coincide, it is finite and their pair has a zero gradient.
    Raises ValueError for shapes that do not fit and a temperature that is not above 0.
    """
    rows = len(z)
    require(z.ndim == 2 and rows >= 2, f"expected embeddings of shape (R, D) with R >= 2, got {tuple(z.shape)}")
    require(
        similarity.shape == (rows, rows) and scores.shape == (rows,),
        f"for z {tuple(z.shape)} expected similarity ({rows}, {rows}) and scores ({rows},), "
        f"got {tuple(similarity.shape)} and {tuple(scores.shape)}",
    )
    require_positive(temperature=temperature)
    unit = functional.normalize(z, dim=1)
    exponent = scores[:, None] * (2.0 * similarity - 1.0) * pairwise_distance(unit, unit) / temperature
    itself = torch.eye(rows, dtype=torch.bool, device=z.device)
    # In logarithms, so that a small temperature does not overflow.
    log_mean = exponent.masked_fill(itself, -torch.inf).flatten().logsumexp(0) - 2.0 * math.log(rows)
    return torch.logaddexp(log_mean, torch.zeros_like(log_mean))


def adjacency(u: Tensor, k: int, *, include_self: bool) -> Tensor:
    """A (N, N) float64 of zeros and ones on the CPU: row i has the k nearest of features `u` (N, P) by cosine.

    Sample i is one of the k by force, or none of them. Raises ValueError as those that call it.
    """
    require(
        u.ndim == 2 and u.is_floating_point(),
        f"expected floating-point features of shape (N, P), got {u.dtype} of shape {tuple(u.shape)}",
    )
    n = len(u)
    require(1 <= k <= n - 1, f"k = {k} neighbours need at least k + 1 samples and k >= 1, got {n} samples")
    require(bool(u.isfinite().all()), "features must be finite, and these hold NaN or infinity")
    unit = functional.normalize(u.detach().cpu().double(), dim=1)
    # Copies of a sample tie exactly once their cosines are rounded.
    cosine = (unit @ unit.T / TIE).round().fill_diagonal_(torch.inf if include_self else -torch.inf)
    # A stable sort leaves ties in the order of their indices.
    near = cosine.argsort(dim=1, descending=True, stable=True)[:, :k]
    return torch.zeros(n, n, dtype=torch.float64).scatter_(1, near, 1.0)


def pairwise_distance(x: Tensor, y: Tensor) -> Tensor:
    """Distances (N, M) of unit vectors `x` (N, D) and `y` (M, D); 0, with a zero gradient, where they coincide."""
    squared = 2.0 - 2.0 * (x @ y.T)
    apart = squared > COINCIDENT_EPS * torch.finfo(squared.dtype).eps
    return torch.where(apart, squared, 1.0).sqrt() * apart
