"""Nearest-neighbour probes: the weighted cosine vote of the field, and the Euclidean 5-NN of the DSA paper."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal

import torch
from torch import Tensor

from dsabench.probes.base import numbered
from dsabench.probes.nearest import nearest
from dsabench.types import Answer, Features, ProbeResult


def knn(
    train: Features, val: Features, test: Features, *, seed: int, k: int = 20, temperature: float = 0.07
) -> ProbeResult:
    """The vote of the `k` nearest by cosine, each weighted exp(similarity / `temperature`): arXiv 1805.01978, 3.4.

    O(N M D) for M test samples, searched by blocks in bounded memory. All the training samples vote where there are
    fewer; a tie goes to the class of the nearer neighbour. `val` and `seed` are not used. Raises
    ValueError as `base.numbered` does.
    """

    def weigh(similarity: Tensor) -> Tensor:
        return torch.exp(similarity / temperature)

    return _voted(train, test, {"k": k, "temperature": temperature}, k, "cosine", weigh)


def knn5(train: Features, val: Features, test: Features, *, seed: int) -> ProbeResult:
    """A plain majority vote of the 5 nearest by Euclidean distance on raw features: arXiv 2407.13541.

    O(N M D) for M test samples, searched by blocks in bounded memory. All the training samples vote where there are
    fewer; a tie goes to the class of the nearer neighbour. `val` and `seed` are not used. Raises
    ValueError as `base.numbered` does.
    """
    k = 5
    return _voted(train, test, {"k": k, "metric": "euclidean"}, k, "euclidean", torch.ones_like)


def _voted(
    train: Features,
    test: Features,
    params: Mapping[str, object],
    k: int,
    metric: Literal["cosine", "euclidean"],
    weigh: Callable[[Tensor], Tensor],
) -> ProbeResult:
    classes = torch.unique(train.y)
    train, test = numbered(train, test=test)
    predicted = [_vote(train.y[found], weigh(score)) for score, found in nearest(test.x, train.x, k, metric)]
    return ProbeResult(answers=[Answer(params, classes[torch.cat(predicted)][None])])


def _vote(labels: Tensor, weights: Tensor) -> Tensor:
    """The class (B,) with most weight among neighbours (B, k) in order of distance."""
    votes = weights.new_zeros(len(labels), int(labels.max()) + 1).scatter_add_(1, labels, weights)
    # argmax takes the first of equals, so looking the votes up per neighbour gives a tie to the nearer one.
    winner = votes.gather(1, labels).argmax(dim=1, keepdim=True)
    return labels.gather(1, winner).squeeze(1)
