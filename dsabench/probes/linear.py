"""The linear probe: multinomial logistic regression, its L2 strength chosen on the validation split."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from dsabench.files import room
from dsabench.probes.base import fit, numbered
from dsabench.probes.logistic import MAX_ITERATIONS, fit_batched, logits
from dsabench.types import Answer, Features, ProbeResult, Score

# scikit-learn's C, the weight of the summed cross-entropy beside ||w||^2 / 2: from strong regularisation to weak.
C_GRID = (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0)


def linear(train: Features, val: Features, test: Features, *, seed: int) -> ProbeResult:
    """Logistic regression (L-BFGS) on standardised features, and the `chosen_C` that won on `val`: arXiv 1805.08974.

    Features are standardised with the training mean and standard deviation, a constant dimension only centred: so
    shifts and scales of single dimensions do not matter, while a rotation does, as far as it changes what is
    standardised. C runs up the grid, with scikit-learn and each fit started from the last, or, where there is a CUDA
    device, there and all at once; the best accuracy on `val` wins, ties to the smaller C. Warns where the chosen fit
    did not converge. Nothing is drawn, so `seed` is not used. Each iteration takes O(N D C); the standardised splits
    are one copy in float64, in a temporary file above half a gigabyte (a CUDA device must hold it), and O(N C) is
    memory. Raises ValueError as `base.numbered` does, and for one class.
    """
    classes = torch.unique(train.y)
    chosen = fit_linear(*numbered(train, val=val, test=test))
    params = {"C": list(C_GRID), "select": "val_accuracy", "standardise": True}
    return ProbeResult(
        scores=[Score("chosen_C", chosen.c, params, None)],
        answers=[Answer(params, classes[chosen.logits.argmax(dim=1)][None])],
    )


class Chosen(NamedTuple):
    """The strength `c` that won on the validation split, and the `logits` (N, C) of its fit for the test split."""

    c: float
    logits: Tensor


def fit_linear(train: Features, val: Features, test: Features) -> Chosen:
    """The fit of `linear`, of splits whose classes are numbered 0..C-1; raises ValueError for one class."""
    if int(train.y.max()) == 0:
        raise ValueError("the linear probe needs at least 2 classes in the training features; got 1")
    # One copy in float64 of each split, which is then standardised in place: features may be larger than memory.
    train, val, test = (Features(_doubled(split.x), split.y) for split in (train, val, test))
    mean, std = train.x.mean(dim=0), train.x.std(dim=0, correction=0)
    # A spread below the last digit of a float32 is rounding, and dividing by it would blow it up.
    scale = torch.where(std <= torch.finfo(torch.float32).eps * mean.abs(), 1.0, std)
    for split in (train, val, test):
        split.x.sub_(mean).div_(scale)
    fits = _together(train, val.x, test.x, "cuda") if torch.cuda.is_available() else _in_turn(train, val.x, test.x)
    best, chosen, converged = -1, Chosen(C_GRID[0], test.x), True
    for c, fitted in zip(C_GRID, fits, strict=True):
        on_val = int((fitted.val.argmax(dim=1) == val.y).sum())
        if on_val > best:
            best, chosen, converged = on_val, Chosen(c, fitted.test), fitted.converged
    if not converged:
        warnings.warn(
            f"the linear probe did not converge at C = {chosen.c:g} within {MAX_ITERATIONS} iterations; "
            "its accuracy may be a little off",
            stacklevel=3,
        )
    return chosen


def _doubled(x: Tensor) -> Tensor:
    """A copy of `x` (N, D) in float64, in a file where it is large."""
    return torch.from_numpy(room(tuple(x.shape), "float64")).copy_(x)


class Fitted(NamedTuple):
    """The logits of a fit for `val` (N, C) and `test` (M, C), and whether it converged."""

    val: Tensor
    test: Tensor
    converged: bool


def _in_turn(train: Features, val: Tensor, test: Tensor) -> Iterator[Fitted]:
    """A fit for each C of the grid, by scikit-learn."""
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(tol=1e-6, max_iter=MAX_ITERATIONS, warm_start=True)
    for c in C_GRID:
        model.C = c
        converged = fit(model, train.x.numpy(), train.y.numpy())
        on_val, on_test = (torch.from_numpy(model.decision_function(x.numpy())) for x in (val, test))
        if on_val.ndim == 1:
            # Of two classes scikit-learn gives the second one's logit over the first's.
            on_val, on_test = (torch.stack([torch.zeros_like(d), d], dim=1) for d in (on_val, on_test))
        yield Fitted(on_val, on_test, converged)


def _together(train: Features, val: Tensor, test: Tensor, device: str) -> Iterator[Fitted]:
    """The same fits, all at once on a device."""
    x, y = train.x.to(device)[None], train.y.to(device)[None]
    weights, converged = fit_batched(x, y, C_GRID)
    for position, ended in enumerate(converged.tolist()):
        on_val, on_test = (logits(weights[position], split.to(device)).cpu() for split in (val, test))
        yield Fitted(on_val, on_test, ended)
