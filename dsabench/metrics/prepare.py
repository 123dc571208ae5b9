"""What every metric does first: check, normalise, number the classes; and the subsample of those that need pairs."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor

Array: TypeAlias = Tensor | np.ndarray[Any, Any]

MAX_PAIRED = 10_000
SUBSAMPLE_SEED = 0


def prepare(x: Array, y: Array, *, min_classes: int = 1) -> tuple[Tensor, Tensor, int]:
    """Unit rows (N, D) float64, classes (N,) int64 renumbered 0..C-1 in the order of their labels, and C.

    Raises ValueError for shapes, types or values that no metric is defined for.
    """
    features, labels = torch.as_tensor(x).detach().cpu(), torch.as_tensor(y).detach().cpu()
    if features.ndim != 2 or labels.shape != features.shape[:1]:
        raise ValueError(
            f"features must be (N, D) and classes (N,); got {tuple(features.shape)} and {tuple(labels.shape)}"
        )
    if features.is_complex() or labels.is_floating_point() or labels.is_complex():
        raise ValueError(f"features must be real and classes integers; got {features.dtype} and {labels.dtype}")
    if len(features) < 2:
        raise ValueError(f"at least 2 samples are needed; got {len(features)}")
    features = features.double()
    broken = int((~features.isfinite()).any(dim=1).sum())
    if broken:
        raise ValueError(f"features must be finite; {broken} of {len(features)} rows hold NaN or infinity")
    classes, codes = torch.unique(labels, return_inverse=True)
    if len(classes) < min_classes:
        raise ValueError(f"at least {min_classes} classes are needed; got {len(classes)}")
    norms = torch.linalg.vector_norm(features, dim=1, keepdim=True)
    return features / torch.where(norms == 0, 1.0, norms), codes, len(classes)


def subsample(n: int) -> Tensor:
    """The positions (min(n, MAX_PAIRED),) int64, ascending, of the samples whose pairs are looked at."""
    if n <= MAX_PAIRED:
        return torch.arange(n)
    drawn = np.random.default_rng(SUBSAMPLE_SEED).choice(n, MAX_PAIRED, replace=False)
    return torch.from_numpy(np.sort(drawn))
