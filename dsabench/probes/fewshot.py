"""The few-label probe: how far 1, 5 or 10 labelled samples a class go."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dsabench.probes.base import numbered, unit_rows
from dsabench.probes.logistic import fit_batched, predict, problem_bytes
from dsabench.rng import numpy_generator
from dsabench.types import Answer, Features, ProbeResult

SHOTS = (1, 5, 10)
DRAWS = 50
# Tian et al. 2020 (arXiv 2003.11539) also fit few labels with C = 1 on unit features; too few are left to choose it on.
LOGISTIC_C = 1.0

WORKSPACE_BYTES = 256 * 2**20
QUERY_ROWS = 16384


def fewshot(train: Features, val: Features, test: Features, *, seed: int, draws: int = DRAWS) -> ProbeResult:
    """Answers after each of `draws` draws of 1, 5 and 10 labels a class, on unit features, by two classifiers: after
    Tian et al. 2020, arXiv 2003.11539.

    `centroid` takes the nearest class mean; `logistic` is multinomial logistic regression (L-BFGS, C = 1). A draw is
    made by (seed, shots, its number) from the training labels alone, so that arms with the same labels and seed learn
    from the same samples. Shots that some class cannot provide are left out with a warning. `val` is not used.
    O(M C D) a draw for M test samples and O(C^2 D) an iteration of its fits, whatever N; the answers are
    8 bytes for each of M samples in each draw. Raises ValueError as `base.numbered` does, and for one class.
    """
    classes = torch.unique(train.y)
    train, test = numbered(train, test=test)
    counts = torch.bincount(train.y)
    if len(counts) < 2:
        raise ValueError("the fewshot probe needs at least 2 classes in the training features; got 1")
    members = members_of(train.y)
    # The published parameters say nothing of the usual number of draws.
    unusual = {} if draws == DRAWS else {"draws": draws}
    answers = []
    for shots in SHOTS:
        if int(counts.min()) < shots:
            warnings.warn(
                f"the fewshot probe leaves {shots} labels a class out: a class has only {int(counts.min())} "
                "training samples",
                stacklevel=2,
            )
            continue
        drawn = [draw(members, shots, seed, number) for number in range(draws)]
        by_centroid = _by_centroid(train.x, drawn, test.x)
        by_logistic = _by_logistic(train.x, drawn, test.x)
        for name, predicted in (("centroid", by_centroid), ("logistic", by_logistic)):
            answers.append(Answer({"classifier": name, "shots": shots, **unusual}, classes[predicted]))
    return ProbeResult(answers=answers)


def members_of(y: Tensor, classes: int = 0) -> list[np.ndarray[Any, Any]]:
    """The positions of each class 0..C-1 in `y` (N,), ascending; C is `classes`, or more where `y` has more."""
    return np.split(y.argsort(stable=True).numpy(), torch.bincount(y, minlength=classes).cumsum(dim=0)[:-1].numpy())


def draw(members: Sequence[np.ndarray[Any, Any]], shots: int, seed: int, number: int) -> Tensor:
    """Positions (C, shots) int64 of labelled samples, one row a class 0..C-1, without replacement: of its
    `members`."""
    generator = numpy_generator(seed, "fewshot", shots, number)
    return torch.from_numpy(np.stack([generator.choice(of_class, shots, replace=False) for of_class in members]))


def _units(x: Tensor, index: Tensor) -> Tensor:
    """The rows of `x` (N, D) at `index`, at unit length in float64: all of `x` may be larger than memory."""
    return unit_rows(x[index].double())


def _by_centroid(x: Tensor, drawn: list[Tensor], queries: Tensor) -> Tensor:
    """The classes (R, N) that each draw's class means of unit rows of `x` give queries (N, D)."""
    means = [_units(x, support).mean(dim=1) for support in drawn]
    predicted = [
        torch.stack([torch.addmm(-m.square().sum(dim=1) / 2, rows, m.T).argmax(dim=1) for m in means])
        for rows in _unit_blocks(queries)
    ]
    return torch.cat(predicted, dim=1)


def _by_logistic(x: Tensor, drawn: list[Tensor], queries: Tensor) -> Tensor:
    """The classes (R, N) that each draw's logistic regression on unit rows of `x` gives queries (N, D)."""
    classes, shots = drawn[0].shape
    labels = torch.arange(classes).repeat_interleave(shots)
    # As many regressions at once as memory has room for: on digits 2.7 times as fast as scikit-learn one by one, and
    # equally fast where each is large enough (100 classes, 512 dimensions).
    together = max(1, WORKSPACE_BYTES // problem_bytes(len(labels), x.shape[1], classes))
    predicted, failed = [], 0
    for some in torch.split(torch.stack(drawn).flatten(1), together):
        weights, converged = fit_batched(_units(x, some), labels.expand(len(some), -1), LOGISTIC_C)
        failed += int((~converged).sum())
        predicted.append(torch.cat([predict(weights, rows) for rows in _unit_blocks(queries)], dim=1))
    if failed:
        warnings.warn(f"{failed} of {len(drawn)} logistic fits of the fewshot probe did not converge", stacklevel=3)
    return torch.cat(predicted)


def _unit_blocks(queries: Tensor) -> Iterator[Tensor]:
    """Queries (N, D) at unit length in float64, block by block: all of them may be larger than memory."""
    return (unit_rows(rows.double()) for rows in torch.split(queries, QUERY_ROWS))
