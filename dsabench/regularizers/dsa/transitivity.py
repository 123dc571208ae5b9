"""Whether features have clusters, and of what size, read off their neighbourhoods without labels."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import normalize

# Shares of the images that a neighbourhood may hold.
SMALLEST, LARGEST = 0.002, 0.125


def transitivity(unit: Tensor, sizes: list[int]) -> Tensor:
    """For each size k, the share of an image's k nearest that its own k nearest have among theirs, (len(sizes),)."""
    images = len(unit)
    cosine = unit @ unit.T
    cosine.fill_diagonal_(-torch.inf)
    order = cosine.topk(sizes[-1], dim=1).indices
    shares = []
    for k in sizes:
        near = torch.zeros(images, images, device=unit.device)
        near.scatter_(1, order[:, :k], 1.0)
        shares.append(((near @ near.T) * near).sum() / (images * k * k))
    return torch.stack(shares)


def excess_transitivity(features: Tensor, part: float = 1.0) -> tuple[float, float]:
    """The share of images that a neighbourhood holds where features (N, D) hang together most, and how much, in [0, 1].

    The second is transitivity beyond that of the same features with the coordinates along their principal axes each
    shuffled over the images, which keeps the spectrum and the spread along each axis and takes clusters away: 0 where
    there are none, 1 where neighbourhoods are cliques.
    """
    images = len(features)
    unit = normalize(features - features.mean(dim=0), dim=1)
    sizes = [2]
    while sizes[-1] * 2 <= LARGEST * images:
        sizes.append(sizes[-1] * 2)
    u, s, _ = torch.linalg.svd(unit, full_matrices=False)
    generator = torch.Generator().manual_seed(0)
    orders = torch.rand(u.shape, generator=generator).argsort(dim=0).to(u.device)
    null = normalize(u.gather(0, orders) * s, dim=1)
    found, chance = transitivity(unit, sizes), transitivity(null, sizes)
    excess = (found - chance) / (1 - chance).clamp(min=1e-6)
    # The finest level that hangs together: the smallest size with so large a part of the most.
    best = int((excess >= part * excess.max()).nonzero()[0])
    return sizes[best] / images, float(excess[best].clamp(0, 1))
