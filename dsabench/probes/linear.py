"""The linear probe: multinomial logistic regression, its L2 strength chosen on the validation split."""

from __future__ import annotations

import warnings

import numpy as np
import torch

from dsabench.probes.common import accuracy, fit, numbered
from dsabench.types import Features, Score

# scikit-learn's C, the weight of the summed cross-entropy beside ||w||^2 / 2: from strong regularisation to weak.
C_GRID = (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0)
MAX_ITERATIONS = 2000


def linear(train: Features, val: Features, test: Features, *, seed: int) -> list[Score]:
    """Test accuracy of logistic regression (L-BFGS) on standardised features, and the `chosen_C` that won on `val`.

    Features are standardised with the training mean and standard deviation, a constant dimension only centred: so
    shifts and scales of single dimensions do not matter, while a rotation does, as far as it changes what is
    standardised. C runs up the grid, each fit started from the last; the best accuracy on `val` wins, ties to the
    smaller C. Warns where the chosen fit did not converge. Nothing is drawn, so `seed` is not used. Raises ValueError
    as `common.numbered` does, and for one class.
    """
    from sklearn.linear_model import LogisticRegression

    train, val, test = numbered(train, val=val, test=test)
    if int(train.y.max()) == 0:
        raise ValueError("the linear probe needs at least 2 classes in the training features; got 1")
    train, val, test = (Features(split.x.double(), split.y) for split in (train, val, test))
    mean, std = train.x.mean(dim=0), train.x.std(dim=0, correction=0)
    # A spread below the last digit of a float32 is rounding, and dividing by it would blow it up.
    scale = torch.where(std <= torch.finfo(torch.float32).eps * mean.abs(), 1.0, std)
    x_train, x_val, x_test = (((split.x - mean) / scale).numpy() for split in (train, val, test))

    model = LogisticRegression(tol=1e-6, max_iter=MAX_ITERATIONS, warm_start=True)
    best, chosen_c, converged, predicted = -1.0, C_GRID[0], True, np.empty(0)
    for c in C_GRID:
        model.C = c
        fitted = fit(model, x_train, train.y.numpy())
        on_val = accuracy(torch.from_numpy(model.predict(x_val)), val.y)
        if on_val > best:
            best, chosen_c, converged, predicted = on_val, c, fitted, model.predict(x_test)
    if not converged:
        warnings.warn(
            f"the linear probe did not converge at C = {chosen_c:g} within {MAX_ITERATIONS} iterations; "
            "its accuracy may be a little off",
            stacklevel=2,
        )
    params = {"C": list(C_GRID), "select": "val_accuracy", "standardise": True}
    return [
        Score("accuracy", accuracy(torch.from_numpy(predicted), test.y), params),
        Score("chosen_C", chosen_c, params, None),
    ]
