"""What the probes share: checked features with numbered classes, unit rows, and a fit that admits when it failed."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from dsabench.types import Features

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
        missing = sorted(set(y.tolist()) - set(classes.tolist()))
        if missing:
            raise ValueError(f"{name} has samples of class {missing[0]}, of which the training features have none")
        checked.append(Features(x, torch.searchsorted(classes, y)))
    return checked


def unit_rows(x: Tensor) -> Tensor:
    """L2-normalised rows of `x` (..., D); a row of zeros stays one."""
    norms = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
    return x / torch.where(norms == 0, 1.0, norms)


def accuracy(predicted: Tensor, y: Tensor) -> float:
    """The share in [0, 1] of the classes `y` (N,) that `predicted` (N,) meets."""
    return float((predicted == y).double().mean())


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
