"""Who is near whom: the neighbourhoods that DSA reads similarity from, as pure functions of positions.

`scores_of_neighbours` and `similarity_of_neighbours` give what `definitions` defines, from one ranking for both.
Neighbours are ranked by cosine in float64, rounded to 2^-40: images that are copies of each other then tie exactly,
whatever the order in which a product was summed, and ties go to the lower index.
"""

from __future__ import annotations

import math
import warnings

import torch
from torch import Tensor
from torch.nn import functional

# A neighbourhood holds at most one in so many of the other samples. Two neighbourhoods that hold a share p of the
# samples each, drawn at random, have the similarity 2 J = 2 p / (2 - p): 2/7 at a quarter, and from p = 2/5 on more
# than the 1/2 at which a pair is pulled together, whatever the features are.
OTHERS_PER_NEIGHBOUR = 4

# Cosines (float64) that are held at once: 64 MiB of them.
BLOCK = 2**23

ALL = slice(None)


def nearest(u: Tensor, k: int, rows: slice = ALL) -> Tensor:
    """Positions (R, k + 1) int64: each sample of `u` (N, D) itself, then its k nearest by cosine, nearest first.

    For all samples, or for those of `rows` alone: neighbours are looked for among all. Copies of a sample never take
    its own place. Raises ValueError unless 1 <= k <= N - 1.
    """
    if u.ndim != 2:
        raise ValueError(f"expected features of shape (N, D), got {tuple(u.shape)}")
    n = len(u)
    if not 1 <= k <= n - 1:
        raise ValueError(f"k = {k} neighbours need at least k + 1 samples and k >= 1, got {n} samples")
    if u.device.type == "mps":
        # No float64 there: a stable sort of float32, and ties are as exact as that leaves them.
        cosine = functional.normalize(u, dim=1)
        cosine = (cosine @ cosine.T).fill_diagonal_(torch.inf)[rows]
        return cosine.argsort(dim=1, descending=True, stable=True)[:, : k + 1]
    # The rounded cosine and the position share the 52 bits of a float64, so that no two keys of a row are equal and
    # one topk gives one order.
    position_bits = max(1, (n - 1).bit_length())
    cosine_bits = min(40, 52 - position_bits)
    unit = functional.normalize(u.double(), dim=1)
    position = torch.arange(n, dtype=torch.float64, device=u.device)
    step = max(1, BLOCK // n)
    first, last, _ = rows.indices(n)
    blocks = [position.new_empty((0, k + 1), dtype=torch.int64)]
    for start in range(first, last, step):
        cosine = ((unit[start : min(start + step, last)] * 2.0**cosine_bits) @ unit.T).round_()
        key = torch.add(-position, cosine, alpha=2.0**position_bits)
        key.diagonal(start).fill_(torch.inf)
        blocks.append(key.topk(k + 1, dim=1).indices)
    return torch.cat(blocks)


@torch.no_grad()
def scores_of_neighbours(near: Tensor, mu: float, rows: slice = ALL) -> Tensor:
    """How well connected each sample is, s (R,) float32 in [0, 1]; outliers get little.

    `near` (N, k) are the positions of the k nearest of each sample, self excluded. With `A` their adjacency and
    `P = A @ A`, which counts two-step paths, s_i = (1/k) sum_j A_ij [P_ji > mu]. `rows` asks for the scores of some
    samples, among all.
    """
    points_to = pointing_at(near, rows)
    # P_ji = sum over the neighbours l of j of A_li, needed for the neighbours j of i alone.
    through = near[near[rows]]
    sample = torch.arange(len(through), device=near.device)[:, None, None]
    return (points_to[through, sample].sum(dim=2) > mu).float().mean(dim=1)


@torch.no_grad()
def similarity_of_neighbours(near: Tensor, samples: int, columns: Tensor | None = None) -> Tensor:
    """T (N, N) float32 in [0, 1] from shared neighbours: min(1, 2 J) of the Jaccard index J of k-neighbourhoods.

    `near` (N, k) are positions among `samples`, each sample itself one of its k: with A their adjacency and
    I = A A^T, J = I / (2k - I), and T_ii = 1. It is symmetric; `columns` (R,) asks for some of them, T (N, R).
    """
    k = near.shape[1]
    wanted = near if columns is None else near[columns]
    pointed_at = torch.zeros(samples, len(wanted), device=near.device).scatter_(0, wanted.T, 1.0)
    # Row i of A A^T is the sum of the k columns of A that i's neighbours are: k N^2 additions instead of N^3 products.
    shared = functional.embedding_bag(near, pointed_at, mode="sum")
    return shared.mul(2.0).div_(shared.neg_().add_(2.0 * k)).clamp_(max=1.0)


def pointing_at(near: Tensor, rows: slice) -> Tensor:
    """Columns `rows` of the adjacency (N, N) bool of `near` (N, k), and one more for the other neighbours."""
    first, last, _ = rows.indices(len(near))
    # What lies before the first goes where what lies behind the last does.
    place = torch.where(near < first, last, near).clamp(max=last) - first
    columns = torch.zeros(len(near), last - first + 1, dtype=torch.bool, device=near.device)
    return columns.scatter_(1, place, True)


def most_neighbours(samples: int) -> int:
    """The most neighbours that a neighbourhood among so many samples may have: one in `OTHERS_PER_NEIGHBOUR`."""
    return max(1, (samples - 1) // OTHERS_PER_NEIGHBOUR)


def fewest_samples(neighbours: int) -> int:
    """The fewest samples of which each may have so many neighbours."""
    return OTHERS_PER_NEIGHBOUR * neighbours + 1


def warn_of_few_samples(samples: int, *, k: int | None = None, eta: int | None = None, mu: float) -> None:
    """Warn where neighbourhoods among so many samples say nothing, with the reason and what would mend it.

    `k` neighbours are those of the similarity and `eta` those of the scores, None where nothing is read off them: with
    k = 1 a neighbourhood is the sample itself, and of eta neighbours no two-step paths exceed `mu` >= eta.
    """
    most = most_neighbours(samples)
    reasons, wanted = [], []
    if k is not None and min(k, most) < 2:
        reasons.append("no two images are similar (T = I)")
        wanted.append(("k", k, 2))
    if eta is not None and min(eta, most) <= mu:
        reasons.append("every score is 0 (s = 0)")
        wanted.append(("eta", eta, math.floor(mu) + 1))
    if not reasons:
        return
    impossible = [f"{name} >= {least}" for name, given, least in wanted if given < least]
    enough = fewest_samples(max(least for _, _, least in wanted))
    remedy = (
        f"choose {' and '.join(impossible)}"
        if impossible
        else f"it takes at least {enough} images, and {fewest_samples(max(given for _, given, _ in wanted))} for all "
        f"{' and '.join(f'{name} = {given}' for name, given, _ in wanted)}"
    )
    warnings.warn(
        f"DSA says nothing about batches of {samples} images: of the others at most a quarter are neighbours, "
        f"{most} here, so that {' and '.join(reasons)}; {remedy}",
        stacklevel=2,
    )
