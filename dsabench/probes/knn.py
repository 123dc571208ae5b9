"""Nearest-neighbour probes: the weighted cosine vote of the field, and the Euclidean 5-NN of the DSA paper."""

from __future__ import annotations

import torch
from torch import Tensor

from dsabench.probes.base import accuracy, numbered
from dsabench.probes.nearest import nearest
from dsabench.types import Features, Score

# Neighbours and temperature of the weighted vote.
K, TEMPERATURE = 20, 0.07


def knn(train: Features, val: Features, test: Features, *, seed: int) -> list[Score]:
    """Accuracy of a vote of the 20 nearest by cosine, each weighted exp(similarity / 0.07): arXiv 1805.01978, 3.4.

    All the training samples vote where there are fewer; a tie goes to the class of the nearer neighbour. `val` and
    `seed` are not used. Raises ValueError as `common.numbered` does.
    """
    correct = knn_correct(train, test)
    return [Score("accuracy", float(correct.double().mean()), {"k": K, "temperature": TEMPERATURE})]


def knn_correct(train: Features, test: Features) -> Tensor:
    """Whether the vote of `knn` is right, (N,) bool, image by image."""
    train, test = numbered(train, test=test)
    predicted = [
        _vote(train.y[found], torch.exp(similarity / TEMPERATURE))
        for similarity, found in nearest(test.x, train.x, K, "cosine")
    ]
    return torch.cat(predicted) == test.y


def knn5(train: Features, val: Features, test: Features, *, seed: int) -> list[Score]:
    """Accuracy of a plain majority vote of the 5 nearest by Euclidean distance on raw features: arXiv 2407.13541.

    All the training samples vote where there are fewer; a tie goes to the class of the nearer neighbour. `val` and
    `seed` are not used. Raises ValueError as `common.numbered` does.
    """
    k = 5
    train, test = numbered(train, test=test)
    predicted = [
        _vote(train.y[found], torch.ones_like(score)) for score, found in nearest(test.x, train.x, k, "euclidean")
    ]
    return [Score("accuracy", accuracy(torch.cat(predicted), test.y), {"k": k, "metric": "euclidean"})]


def _vote(labels: Tensor, weights: Tensor) -> Tensor:
    """The class (B,) with most weight among neighbours (B, k) in order of distance."""
    votes = weights.new_zeros(len(labels), int(labels.max()) + 1).scatter_add_(1, labels, weights)
    # argmax takes the first of equals, so looking the votes up per neighbour gives a tie to the nearer one.
    winner = votes.gather(1, labels).argmax(dim=1, keepdim=True)
    return labels.gather(1, winner).squeeze(1)
