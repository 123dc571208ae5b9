"""What a graph of nearest neighbours says of images without labels: its communities, and how an image lies in it."""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

import torch
from torch import Tensor

from dsabench.regularizers.dsa.neighbourhoods import most_neighbours, nearest, scores_of_neighbours
from dsabench.regularizers.dsa.transitivity import local_transitivity
from dsabench.rng import numpy_generator

# Of the scores of `dsa-nested`, as it has them by default.
ETA, MU = 20, 1.0


class Communities(NamedTuple):
    """How many communities of two images or more there are, the shares of all images in them and in the largest.

    And of the images in them, not a number where there are none: how many others an image's community has; the mean
    share of these that has its class, of its mutual neighbours, and of as many of its nearest as its community has.
    """

    communities: int
    in_communities: float
    largest: float
    others: float
    community_same_class: float
    mutual_same_class: float
    nearest_same_class: float


def adjacency(near: Tensor) -> Tensor:
    """Whom each image points to, A (N, N) bool, from the positions `near` (N, k) of its nearest."""
    return torch.zeros(len(near), len(near), dtype=torch.bool).scatter_(1, near, True)


def propagated(linked: Tensor) -> Tensor:
    """The community (N,) int64 of each image of a graph `linked` (N, N) bool, symmetric, by label propagation.

    Raghavan et al. 2007, arXiv 0709.2938: at first each is a community of its own; then, one after another in random
    order, each joins the one that most of its neighbours are in, its own where that is one of several, until nobody
    moves. Each move lets more links lie within communities, so that it ends. The draws are the same for every call.
    """
    draws = numpy_generator("communities")
    neighbours = [row.nonzero().squeeze(1).tolist() for row in linked]
    label = list(range(len(linked)))
    moved = True
    while moved:
        moved = False
        for image in draws.permutation(len(label)).tolist():
            counts = Counter(label[other] for other in neighbours[image])
            most = max(counts.values(), default=0)
            best = [one for one, count in counts.items() if count == most]
            if best and label[image] not in best:
                label[image] = best[int(draws.integers(len(best)))]
                moved = True
    return torch.tensor(label)


def communities(unit: Tensor, k: int, classes: Tensor) -> Communities:
    """The communities of the graph of mutual neighbours among the k nearest of rows (N, D), beside the classes (N,)."""
    points = adjacency(nearest(unit, k)[:, 1:])
    linked = points & points.T
    label = propagated(linked)
    sizes = label.bincount()
    inside, others = sizes[label] > 1, sizes[label] - 1
    together = (label[:, None] == label).fill_diagonal_(False)
    order = nearest(unit, max(1, int(others.max())))[:, 1:]
    as_many = torch.zeros_like(linked).scatter_(1, order, torch.arange(order.shape[1]) < others[:, None])
    same = classes[:, None] == classes
    shares = [(same & pairs).sum(dim=1) / pairs.sum(dim=1) for pairs in (together, linked, as_many)]
    return Communities(
        int((sizes > 1).sum()),
        float(inside.float().mean()),
        float(sizes.max() / len(label)),
        *(float(found[inside].float().mean()) for found in (others, *shares)),
    )


def scores(unit: Tensor, k: int) -> dict[str, Tensor]:
    """How well each image lies among the others, (N,) each, by its k nearest among rows (N, D) of length 1.

    `in_degree`: how many have it among their k nearest; `cosine`: its mean cosine with its own; `mutual`: the share of
    these that have it among theirs; `transitivity`: the local one. Raises ValueError unless 2 <= k <= N - 1.
    """
    if k < 2:
        raise ValueError(f"pairs of neighbours need k >= 2, got {k}")
    near = nearest(unit, k)[:, 1:]
    points = adjacency(near)
    return {
        "in_degree": points.sum(dim=0).float(),
        "cosine": (unit @ unit.T).gather(1, near).mean(dim=1),
        "mutual": (points & points.T).sum(dim=1) / k,
        "transitivity": local_transitivity(unit, torch.arange(len(unit)), k),
    }


def dsa_scores(unit: Tensor) -> Tensor:
    """What `dsa-nested` at its defaults weighs the images of rows (N, D) by: s (N,) in [0, 1]."""
    return scores_of_neighbours(nearest(unit, min(ETA, most_neighbours(len(unit))))[:, 1:], MU)
