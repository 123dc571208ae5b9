"""The few-label probe: how far 1, 5 or 10 labelled samples a class go."""

from __future__ import annotations

import warnings

import numpy as np
import torch
from torch import Tensor

from dsabench.probes.base import accuracy, numbered, unit_rows
from dsabench.probes.logistic import fit_batched, predict, problem_bytes
from dsabench.rng import numpy_generator
from dsabench.types import Features, Score

SHOTS = (1, 5, 10)
RESAMPLES = 50
# Tian et al. 2020 (arXiv 2003.11539) also fit few labels with C = 1 on unit features; too few are left to choose it on.
LOGISTIC_C = 1.0

WORKSPACE_BYTES = 256 * 2**20


def fewshot(train: Features, val: Features, test: Features, *, seed: int) -> list[Score]:
    """Mean test accuracy over 50 draws of 1, 5 and 10 labels a class, on unit features, with two classifiers.

    `centroid` takes the nearest class mean; `logistic` is multinomial logistic regression (L-BFGS, C = 1). A draw is
    made by (seed, shots, resample) from the training labels alone, so that arms with the same labels and seed learn
    from the same samples. Shots that some class cannot provide are left out with a warning. `val` is not used.
    Raises ValueError as `common.numbered` does, and for one class.
    """
    train, test = numbered(train, test=test)
    counts = torch.bincount(train.y)
    if len(counts) < 2:
        raise ValueError("the fewshot probe needs at least 2 classes in the training features; got 1")
    x_train, x_test = unit_rows(train.x.double()), unit_rows(test.x.double())
    scores = []
    for shots in SHOTS:
        if int(counts.min()) < shots:
            warnings.warn(
                f"the fewshot probe leaves {shots} labels a class out: a class has only {int(counts.min())} "
                "training samples",
                stacklevel=2,
            )
            continue
        draws = [draw(train.y, shots, seed, resample) for resample in range(RESAMPLES)]
        by_centroid = [accuracy(_centroid(x_train[drawn], x_test), test.y) for drawn in draws]
        by_logistic = _logistic(x_train, draws, x_test, test.y)
        for name, accuracies in (("centroid", by_centroid), ("logistic", by_logistic)):
            scores.append(Score("accuracy", float(np.mean(accuracies)), {"classifier": name, "shots": shots}))
    return scores


def draw(y: Tensor, shots: int, seed: int, resample: int) -> Tensor:
    """Positions (C, shots) int64 in `y` (N,) of labelled samples, one row a class 0..C-1, without replacement."""
    generator = numpy_generator(seed, "fewshot", shots, resample)
    labels = y.numpy()
    members = [np.flatnonzero(labels == label) for label in range(int(y.max()) + 1)]
    return torch.from_numpy(np.stack([generator.choice(of_class, shots, replace=False) for of_class in members]))


def _centroid(support: Tensor, queries: Tensor) -> Tensor:
    """The nearest class mean (N,) of queries (N, D), from support features (C, shots, D)."""
    means = support.mean(dim=1)
    return torch.addmm(-means.square().sum(dim=1) / 2, queries, means.T).argmax(dim=1)


def _logistic(x: Tensor, draws: list[Tensor], queries: Tensor, y: Tensor) -> list[float]:
    """The accuracy of each draw's logistic regression on queries (N, D) of classes (N,)."""
    classes, shots = draws[0].shape
    labels = torch.arange(classes).repeat_interleave(shots)
    # As many regressions at once as memory has room for: on digits 2.7 times as fast as scikit-learn one by one, and
    # equally fast where each is large enough (100 classes, 512 dimensions).
    together = max(1, WORKSPACE_BYTES // problem_bytes(len(labels), x.shape[1], classes))
    accuracies, failed = [], 0
    for some in torch.split(torch.stack(draws).flatten(1), together):
        weights, converged = fit_batched(x[some], labels.expand(len(some), -1), LOGISTIC_C)
        failed += int((~converged).sum())
        accuracies += [accuracy(predicted, y) for predicted in predict(weights, queries)]
    if failed:
        warnings.warn(f"{failed} of {len(draws)} logistic fits of the fewshot probe did not converge", stacklevel=3)
    return accuracies
