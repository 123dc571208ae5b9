"""Whether features hang together in groups, and in groups of what size, read off their neighbourhoods alone."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import normalize

from dsabench.regularizers.dsa.neighbourhoods import nearest
from dsabench.transfer import send

# The largest share of the images that a neighbourhood may hold.
LARGEST = 0.125


def transitivity(unit: Tensor, sizes: Sequence[int]) -> Tensor:
    """For each size k, ascending, how many of an image's k nearest are among their own k nearest too, as a share.

    The mean over images i and their neighbours j of |N_k(i) and N_k(j)| / k, (len(sizes),), for rows (N, D) of length
    1; nobody is a neighbour of itself. Costs O(N^2 D + N K^2) for the largest size K.
    """
    images, largest = len(unit), sizes[-1]
    order = nearest(unit, largest)[:, 1:]
    # Rank of every image among the neighbours of every other; whoever is not among them comes last.
    rank = order.new_full((images, images), largest, dtype=torch.int16)
    rank.scatter_(1, order, torch.arange(largest, dtype=torch.int16, device=order.device).expand_as(order))
    own = torch.arange(largest, dtype=torch.int16, device=order.device)
    together = order.new_zeros(largest + 1)
    for i in range(images):
        # l is a neighbour of i and of its neighbour j from the size on that holds all three.
        last = torch.maximum(torch.maximum(rank[i, order[order[i]]], own), own[:, None])
        together += torch.bincount(last.flatten(), minlength=largest + 1)
    counts = together.cumsum(dim=0)
    k = torch.tensor(sizes, device=order.device)
    return counts[k - 1].double() / (images * k.double() ** 2)


def excess_transitivity(features: Tensor, part: float = 1.0) -> tuple[float, float]:
    """The share of the images (N, D) that a neighbourhood holds where they hang together, and how much, in [0, 1].

    The second is transitivity beyond that of features without groups: the same ones, each of their coordinates along
    the principal axes shuffled over the images, which keeps the spread along every axis. It is 0 where there are no
    groups, and 1 where each neighbourhood is a clique. The share is the smallest whose excess is at least `part` of
    the largest: groups may consist of groups, and `part` = 1 looks for the coarsest. Two or three groups lie along
    the axes themselves and are not seen. The shuffles are the same for every call with as many images and axes.
    Raises ValueError for fewer than 16 images. Costs O(N^2 D + N^3) of some thousand images.
    """
    images = len(features)
    if images < 16:
        raise ValueError(f"transitivity needs at least 16 images, got {images}")
    unit = normalize(features - features.mean(dim=0), dim=1)
    sizes = [2]
    while sizes[-1] * 2 <= LARGEST * images:
        sizes.append(sizes[-1] * 2)
    u, s, _ = torch.linalg.svd(unit, full_matrices=False)
    orders = send(torch.rand(u.shape, generator=torch.Generator().manual_seed(0)).argsort(dim=0), u.device)
    shuffled = normalize(u.gather(0, orders) * s, dim=1)
    found, chance = transitivity(unit, sizes), transitivity(shuffled, sizes)
    excess = ((found - chance) / (1 - chance).clamp(min=1e-6)).clamp(0, 1).tolist()
    best = next(place for place, value in enumerate(excess) if value >= part * max(excess))
    return sizes[best] / images, excess[best]
