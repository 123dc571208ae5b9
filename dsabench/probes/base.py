"""What the probes share: numbered classes, unit rows, a fit that admits when it failed, and accuracy from answers."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from dsabench.types import Answer, Features, ProbeResult, Score

if TYPE_CHECKING:
    from sklearn.linear_model import LogisticRegression


# By blocks, for features may be larger than memory.
CHECKED_ROWS = 8192


def numbered(train: Features, **others: Features) -> list[Features]:
    """`train` and `others`, checked, their classes renumbered 0..C-1 in the order of train's labels.

    Raises ValueError for shapes that do not fit, features that are not finite, an empty split and a class that
    `train` has no sample of, each with the name of the split.
    """
    classes = torch.unique(train.y)
    checked = []
    for name, features in {"train": train, **others}.items():
        x, y = features
        if x.ndim != 2 or y.shape != x.shape[:1] or x.shape[1:] != train.x.shape[1:]:
            raise ValueError(
                f"{name} features {tuple(x.shape)} and classes {tuple(y.shape)} do not fit (N, D) and (N,) "
                f"with training features {tuple(train.x.shape)}"
            )
        if len(x) == 0:
            raise ValueError(f"there are no {name} features")
        if not all(bool(rows.isfinite().all()) for rows in torch.split(x, CHECKED_ROWS)):
            raise ValueError(f"{name} features must be finite; some are NaN or infinite")
        missing = sorted(set(torch.unique(y).tolist()) - set(classes.tolist()))
        if missing:
            raise ValueError(f"{name} has samples of class {missing[0]}, of which the training features have none")
        checked.append(Features(x, torch.searchsorted(classes, y)))
    return checked


def unit_rows(x: Tensor) -> Tensor:
    """L2-normalised rows of `x` (..., D); a row of zeros stays one."""
    norms = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
    return x / torch.where(norms == 0, 1.0, norms)


def correct_of(answer: Answer, y: Tensor) -> Tensor:
    """Which images of the classes `y` (N,) an answer gets right: (R, N) bool, draw by draw."""
    return answer.predicted == y


def accuracy_of(answer: Answer, y: Tensor) -> float:
    """The share in [0, 1] of the images of classes `y` (N,) that an answer gets right, as the mean over its draws."""
    # Counts are exact; the order of the sum over draws is NumPy's, which the published values have.
    return float(np.mean((correct_of(answer, y).sum(dim=1).double() / len(y)).numpy()))


def scores_of(result: ProbeResult, y: Tensor) -> list[Score]:
    """The values of a result for images of classes `y` (N,): the accuracies of its answers, then its scores."""
    accuracies = [Score("accuracy", accuracy_of(answer, y), answer.params) for answer in result.answers]
    return [*accuracies, *result.scores]


def fit(model: LogisticRegression, x: np.ndarray[Any, Any], y: np.ndarray[Any, Any]) -> bool:
    """Fit in place and return whether the solver converged, instead of its warning; other warnings pass."""
    from sklearn.exceptions import ConvergenceWarning

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model.fit(x, y)
    converged = True
    for warning in caught:
        if issubclass(warning.category, ConvergenceWarning):
            converged = False
        else:
            warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)
    return converged
