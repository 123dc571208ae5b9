"""Probes that learn from few classes with many labels and many with few, as labels come in the world."""

from __future__ import annotations

import torch
from torch import Tensor

from dsabench.probes.base import numbered
from dsabench.probes.knn import knn
from dsabench.probes.linear import linear
from dsabench.rng import generator
from dsabench.types import Answer, Features, ProbeResult, Score


def longtail(train: Features, val: Features, test: Features, *, seed: int, ratio: int = 100) -> ProbeResult:
    """Answers of `linear` and of `knn` fitted on an unbalanced subset, and their balanced test accuracy.

    Of C classes in an order drawn by `seed` the i-th keeps n ratio^(-i / (C - 1)) training samples, n those of the
    smallest class, and one at least: Cui et al. 2019, arXiv 1901.05555, and Cao et al. 2019, arXiv 1906.07413, whose
    imbalance `ratio` is that of the first to the last. `balanced_accuracy` is the mean over classes of the share of
    their test samples that are right. `linear` chooses on `val` as it is. Raises ValueError as `linear` does, and for a
    ratio below 1.
    Cost: O(N M D), of the subset.
    """
    if ratio < 1:
        raise ValueError(f"the ratio of the largest class to the smallest must be at least 1, got {ratio}")
    codes = numbered(train, test=test)[0].y
    kept = unbalanced(codes, ratio, seed)
    few = Features(train.x[kept], train.y[kept])
    answers, scores = [], []
    for name, probe in (("linear", linear), ("knn", knn)):
        (answer,) = probe(few, val, test, seed=seed).answers
        params = {"classifier": name, "ratio": ratio}
        answers.append(Answer(params, answer.predicted))
        scores.append(Score("balanced_accuracy", balanced(answer.predicted[0], test.y), params))
    return ProbeResult(scores, answers)


def unbalanced(y: Tensor, ratio: int, seed: int) -> Tensor:
    """Positions, ascending, of the subset of `longtail` in `y` (N,) of classes 0..C-1."""
    counts = torch.bincount(y)
    most, last = int(counts.min()), max(1, len(counts) - 1)
    draws = generator(seed, "longtail")
    ranks = torch.randperm(len(counts), generator=draws).tolist()
    kept = []
    for label, rank in enumerate(ranks):
        members = (y == label).nonzero().squeeze(1)
        order = torch.randperm(len(members), generator=draws)
        kept.append(members[order[: max(1, round(most * ratio ** (-rank / last)))]])
    return torch.cat(kept).sort().values


def balanced(predicted: Tensor, y: Tensor) -> float:
    """The mean over the classes of `y` (N,) of the share of their samples that are `predicted` (N,)."""
    right = (predicted == y).double()
    return float(torch.stack([right[y == label].mean() for label in torch.unique(y)]).mean())
