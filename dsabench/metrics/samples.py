"""What every metric does first: check, normalise, number the classes; and what they share, read once and by blocks."""

from __future__ import annotations

import functools
from collections.abc import Callable, Hashable, Iterator, Sequence
from functools import cached_property
from typing import Any, TypeAlias, TypeVar

import numpy as np
import torch
from torch import Tensor

from dsabench.metrics.moments import ClassMoments, Triangle
from dsabench.registry import Scalar

Array: TypeAlias = Tensor | np.ndarray[Any, Any]
Labels: TypeAlias = Array | Sequence[Hashable]

T = TypeVar("T")

MAX_PAIRED = 10_000
SUBSAMPLE_SEED = 0

# One block of rows in float64; a handful of its size is the memory that a pass takes, however many rows there are.
BLOCK_BYTES = 16 * 2**20
# Entries of unit rows of one direction differ by the rounding of their lengths, some 1e-16.
ALIKE = 4e-15


class Samples:
    """Checked features `x` (N, D) of any real type, never copied whole, and their classes, numbered 0..C-1: `codes`
    (N,) int64. Classes may be integers, numbered in their order, or words, numbered as they appear. What several
    metrics need is computed once, when it is asked for.

    Raises ValueError for shapes, types or values that no metric is defined for.
    """

    def __init__(self, x: Array, y: Labels) -> None:
        features, labels = torch.as_tensor(x).detach().cpu(), _integers(y)
        if features.ndim != 2 or labels.shape != features.shape[:1]:
            raise ValueError(
                f"features must be (N, D) and classes (N,); got {tuple(features.shape)} and {tuple(labels.shape)}"
            )
        if features.is_complex() or labels.is_floating_point() or labels.is_complex():
            raise ValueError(f"features must be real and classes integers; got {features.dtype} and {labels.dtype}")
        if len(features) < 2:
            raise ValueError(f"at least 2 samples are needed; got {len(features)}")
        self.x = features
        self._rows = max(1, BLOCK_BYTES // (8 * max(1, features.shape[1])))
        broken = sum(int((~rows.isfinite()).any(dim=1).sum()) for rows in torch.split(features, self._rows))
        if broken:
            raise ValueError(f"features must be finite; {broken} of {len(features)} rows hold NaN or infinity")
        classes, self.codes = torch.unique(labels, return_inverse=True)
        self.n_classes = len(classes)
        self._made: dict[Callable[[Samples], Any], Any] = {}

    def __len__(self) -> int:
        return len(self.x)

    def compared(self) -> Samples:
        """The same, for a metric that compares classes; raises ValueError where there are fewer than two."""
        if self.n_classes < 2:
            raise ValueError(f"at least 2 classes are needed; got {self.n_classes}")
        return self

    def blocks(self, width: int = 1) -> Iterator[tuple[Tensor, Tensor]]:
        """Unit rows (B, D) float64 and their classes (B,), in order, so that (B, `width`) is no larger than a block."""
        size = min(self._rows, max(1, BLOCK_BYTES // (8 * width)))
        for rows, codes in zip(torch.split(self.x, size), torch.split(self.codes, size), strict=True):
            yield self._unit_rows(rows), codes

    def once(self, compute: Callable[[Samples], T]) -> T:
        """What `compute` makes of the samples: made when it is first asked for, and kept."""
        if compute not in self._made:
            self._made[compute] = compute(self)
        made: T = self._made[compute]
        return made

    @cached_property
    def origin(self) -> Tensor:
        """The first unit row (D,), the origin of `moments`."""
        # Distances know no origin. With a sample as the origin, features that are all alike become exact zeros, where
        # rounded means would turn a ratio of two zeros into a number.
        return _unit(self.x[:1])[0]

    @cached_property
    def moments(self) -> ClassMoments:
        """Counts, means and scatter of the classes, about `origin`."""
        moments = ClassMoments.of_nothing(self.n_classes, self.x.shape[1])
        for rows, codes in self.blocks():
            moments.add(rows - self.origin, codes)
        return moments

    @cached_property
    def triangle(self) -> Triangle:
        """The triangular factor that has the singular values of all unit rows."""
        triangle = Triangle(self.x.shape[1])
        for rows, _ in self.blocks():
            triangle.add(rows)
        return triangle

    def read_once(self) -> Samples:
        """The same, with `moments` and `triangle` from one pass, where each asked for alone takes its own."""
        moments, triangle = ClassMoments.of_nothing(self.n_classes, self.x.shape[1]), Triangle(self.x.shape[1])
        for rows, codes in self.blocks():
            triangle.add(rows)
            moments.add(rows - self.origin, codes)
        self.moments, self.triangle = moments, triangle
        return self

    @cached_property
    def paired(self) -> tuple[Tensor, Tensor]:
        """Unit rows (K, D) float64 and classes (K,) of the samples whose pairs are looked at."""
        kept = subsample(len(self))
        return self._unit_rows(self.x[kept]), self.codes[kept]

    def _unit_rows(self, rows: Tensor) -> Tensor:
        """Unit rows (B, D) float64, where those that are `origin` up to rounding are `origin`: a collapse to one
        direction must not find its classes in the last digits."""
        unit = _unit(rows)
        unit[(unit - self.origin).abs().amax(dim=1) <= ALIKE] = self.origin
        return unit


class Metric:
    """A metric: `metric(x, y)` on its own, `metric.of(samples)` where several share what they need; either takes the
    metric's options."""

    def __init__(self, of: Callable[..., float]) -> None:
        self.of = of
        functools.update_wrapper(self, of)

    def __call__(self, x: Array, y: Labels, **options: Scalar) -> float:
        return self.of(Samples(x, y), **options)


def subsample(n: int) -> Tensor:
    """The positions (min(n, MAX_PAIRED),) int64, ascending, of the samples whose pairs are looked at."""
    if n <= MAX_PAIRED:
        return torch.arange(n)
    drawn = np.random.default_rng(SUBSAMPLE_SEED).choice(n, MAX_PAIRED, replace=False)
    return torch.from_numpy(np.sort(drawn))


def _integers(y: Labels) -> Tensor:
    """Classes as a tensor: numbers as they are, anything else numbered as it appears."""
    labels = y if isinstance(y, Tensor) else np.asarray(y)
    if isinstance(labels, np.ndarray) and labels.dtype.kind not in "biufc":
        numbers: dict[Hashable, int] = {}
        counted = [numbers.setdefault(label, len(numbers)) for label in labels.ravel().tolist()]
        labels = np.array(counted, dtype=np.int64).reshape(labels.shape)
    return torch.as_tensor(labels).detach().cpu()


def _unit(rows: Tensor) -> Tensor:
    """L2-normalised rows (B, D) float64; a row of zeros stays one."""
    rows = rows.double()
    norms = torch.linalg.vector_norm(rows, dim=1, keepdim=True)
    return rows / torch.where(norms == 0, 1.0, norms)
