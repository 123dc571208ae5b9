"""Whether features hang together in groups, and in groups of what size, read off their neighbourhoods alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import normalize

from dsabench.regularizers.dsa.neighbourhoods import nearest
from dsabench.transfer import send

# The largest share of the images that a neighbourhood may hold.
LARGEST = 0.125
# Rows that are looked at at once.
ROWS = 256


def transitivity(unit: Tensor, sizes: Sequence[int]) -> Tensor:
    """For each size k, ascending, how many of an image's k nearest are among their own k nearest too, as a share.

    The mean over images i and their neighbours j of |N_k(i) and N_k(j)| / k, (len(sizes),), for rows (N, D) of length
    1; nobody is a neighbour of itself. Costs O(N^2 D + N K^2) for the largest size K.
    """
    images, largest = len(unit), sizes[-1]
    order = nearest(unit, largest)[:, 1:]
    rank = ranks(order, images)
    own = torch.arange(largest, dtype=torch.int16, device=order.device)
    together = order.new_zeros(largest + 1)
    for i in range(images):
        # l is a neighbour of i and of its neighbour j from the size on that holds all three.
        last = torch.maximum(torch.maximum(rank[i, order[order[i]]], own), own[:, None])
        together += torch.bincount(last.flatten(), minlength=largest + 1)
    counts = together.cumsum(dim=0)
    k = torch.tensor(sizes, device=order.device)
    return counts[k - 1].double() / (images * k.double() ** 2)


def ranks(order: Tensor, images: int) -> Tensor:
    """Rank (R, images) int16 of every image among the neighbours (R, K) of each; whoever is not among them has K."""
    rows, size = order.shape
    rank = torch.full((rows, images), size, dtype=torch.int16, device=order.device)
    return rank.scatter_(1, order, torch.arange(size, dtype=torch.int16, device=order.device).expand(rows, size))


def local_transitivity(unit: Tensor, positions: Tensor, k: int) -> Tensor:
    """Of each image (N, D), the share of pairs (N,) of its k nearest of which the second is among the k nearest of the
    first; neighbours are looked for among those at `positions` (M,). Rows of length 1; nobody is its own neighbour."""
    sample = unit[positions]
    theirs = nearest(sample, k)[:, 1:]
    shares = []
    for places in torch.split(torch.arange(len(unit), device=unit.device), ROWS):
        cosine = (unit[places] @ sample.T).masked_fill_(positions == places[:, None], -torch.inf)
        order = cosine.topk(k, dim=1).indices
        near = torch.zeros_like(cosine, dtype=torch.bool).scatter_(1, order, True)
        shares.append(near.gather(1, theirs[order].flatten(1)).float().mean(dim=1))
    return torch.cat(shares)


def above_chance(chance: float, found: Tensor) -> Tensor:
    """How much more a transitivity is than that by chance, as a share in [0, 1] of what it could be more."""
    return ((found - chance) / max(1 - chance, 1e-6)).clamp(0, 1)


class Groups(NamedTuple):
    """What neighbourhoods tell: the `share` of the images that one holds where they hang together, the transitivity
    there by `chance`, in features without groups, and how much more it is, `excess` in [0, 1]."""

    share: float
    chance: float
    excess: float


def excess_transitivity(features: Tensor, part: float = 1.0) -> Groups:
    """The share of the images (N, D) that a neighbourhood holds where they hang together, and how much, in [0, 1].

    The excess is transitivity beyond that of features without groups: the same ones, each of their coordinates along
    the principal axes shuffled over the images, which keeps the spread along every axis. It is 0 where there are no
    groups, and 1 where each neighbourhood is a clique. The share is the smallest whose excess is at least `part` of
    the largest: groups may consist of groups, and `part` = 1 looks for the coarsest. Two or three groups lie along
    the axes themselves and are not seen. The shuffles are the same for every call with as many images and axes.
    Raises ValueError for fewer than 16 images. Costs O(N^2 D) and N^3 / 64 look-ups, of some thousand images.
    """
    images = len(features)
    if images < 16:
        raise ValueError(f"transitivity needs at least 16 images, got {images}")
    unit = centred(features)
    sizes = [2]
    while sizes[-1] * 2 <= LARGEST * images:
        sizes.append(sizes[-1] * 2)
    u, s, _ = torch.linalg.svd(unit, full_matrices=False)
    orders = send(torch.rand(u.shape, generator=torch.Generator().manual_seed(0)).argsort(dim=0), u.device)
    shuffled = normalize(u.gather(0, orders) * s, dim=1)
    levels = zip(sizes, transitivity(unit, sizes), transitivity(shuffled, sizes).tolist(), strict=True)
    groups = [Groups(k / images, chance, float(above_chance(chance, found))) for k, found, chance in levels]
    most = max(level.excess for level in groups)
    return next(level for level in groups if level.excess >= part * most)


def centred(features: Tensor) -> Tensor:
    """Rows (N, D) around their mean, of length 1."""
    return normalize(features - features.mean(dim=0), dim=1)
