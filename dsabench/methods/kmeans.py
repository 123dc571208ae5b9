"""k-means by cosine on the device of the features, the same bits however often it is run."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from dsabench.transfer import send

# Samples that are assigned at once.
BLOCK = 2**14


def assign(x: Tensor, centres: Tensor) -> Tensor:
    """The most similar of the `centres` (K, D) for each row of `x` (N, D), (N,) int64; ties go to the lower index."""
    return torch.cat([(block @ centres.T).argmax(dim=1) for block in torch.split(x, BLOCK)])


@torch.no_grad()
def spherical_kmeans(x: Tensor, clusters: int, iterations: int = 20) -> Tensor:
    """The clusters (N,) int64 in [0, `clusters`) of features `x` (N, D), by cosine (Dhillon and Modha 2001).

    Lloyd's iterations from the centres that k-means++ draws, with the global generator; a centre that loses all of its
    samples stays where it is. Raises ValueError unless there are at least `clusters` samples.
    """
    if not 1 <= clusters <= len(x):
        raise ValueError(f"{clusters} clusters need at least as many samples and clusters >= 1, got {len(x)} samples")
    x = functional.normalize(x.float(), dim=1)
    centres = draw_centres(x, clusters)
    for _ in range(iterations):
        # A product with 0 and 1 instead of index_add, whose order of summation differs from run to run on a GPU.
        sums = torch.zeros_like(centres)
        for block in torch.split(x, BLOCK):
            sums += functional.one_hot(assign(block, centres), clusters).to(x.dtype).T @ block
        moved = functional.normalize(torch.where(sums.any(dim=1, keepdim=True), sums, centres), dim=1)
        if torch.equal(moved, centres):
            break
        centres = moved
    return assign(x, centres)


def draw_centres(x: Tensor, clusters: int) -> Tensor:
    """Centres (K, D) among the unit rows of `x` (N, D), each drawn by its squared distance to those before it."""
    chosen = send(torch.rand(len(x)), x.device).argmin()
    centres, distance = [x[chosen]], torch.full_like(x[:, 0], torch.inf)
    while len(centres) < clusters:
        distance = torch.minimum(distance, 2.0 - 2.0 * (x @ centres[-1])).clamp_(min=0.0)
        # The first of N alarms that ring at these rates: a draw without cumsum, which has no fixed order on a GPU.
        # It is made on the CPU and moved, so that it does not depend on the device.
        alarms = send(torch.empty(len(x)).exponential_(), x.device) / distance
        centres.append(x[alarms.masked_fill(distance == 0, torch.inf).argmin()])
    return torch.stack(centres)
