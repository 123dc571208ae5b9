"""What one pass over the rows leaves behind: moments of the classes, and the triangle with their singular values."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass
class ClassMoments:
    """`counts` (C,), `means` (C, D), `scatter` (C,), the summed squared distances of a class to its mean, and `within`
    (D,), the same sum by dimension over all classes; all float64.

    Blocks are merged as in Chan, Golub and LeVeque 1983: squares are always taken about a mean, so that tight classes
    far from the origin keep their digits.
    """

    counts: Tensor
    means: Tensor
    scatter: Tensor
    within: Tensor

    @classmethod
    def of_nothing(cls, n_classes: int, dim: int) -> ClassMoments:
        """The moments of no rows."""
        shapes = (n_classes,), (n_classes, dim), (n_classes,), (dim,)
        return cls(*(torch.zeros(shape, dtype=torch.float64) for shape in shapes))

    def add(self, rows: Tensor, codes: Tensor) -> None:
        """Take rows (B, D) float64 of classes `codes` (B,) in; `rows` is used up."""
        counts = torch.bincount(codes, minlength=len(self.counts)).double()
        total = self.counts + counts
        means = torch.zeros_like(self.means).index_add_(0, codes, rows).div_(counts.clamp(min=1)[:, None])
        squares = rows.sub_(means[codes]).square_()
        self.scatter.index_add_(0, codes, squares.sum(dim=1))
        self.within += squares.sum(dim=0)
        share = counts / total.clamp(min=1)
        apart = means.sub_(self.means)
        self.means.addcmul_(apart, share[:, None])
        between = apart.square_().mul_((self.counts * share)[:, None])
        self.scatter += between.sum(dim=1)
        self.within += between.sum(dim=0)
        self.counts = total

    @property
    def variances(self) -> Tensor:
        """Mean squared distance of a class to its mean (C,)."""
        return self.scatter / self.counts

    @property
    def centre(self) -> Tensor:
        """The mean of all rows (D,)."""
        return (self.counts @ self.means) / self.counts.sum()


class Triangle:
    """The triangular factor R of all rows taken in: (min(N, D), D) float64, with the same singular values.

    A chain of QR factorisations (Golub, Plemmons and Sameh 1988) keeps all digits of small singular values, where the
    matrix of inner products would keep those above 1e-8 of the largest alone.
    """

    def __init__(self, dim: int) -> None:
        self._factor = torch.empty(0, dim, dtype=torch.float64)
        self._pending: list[Tensor] = []

    def add(self, rows: Tensor) -> None:
        """Take rows (B, D) float64 in, which must not be changed afterwards."""
        self._pending.append(rows)
        # Waiting for as many rows as the factor has keeps the work linear in N where D is large.
        if sum(map(len, self._pending)) >= len(self._factor):
            self._reduce()

    def singular_values(self) -> Tensor:
        """(min(N, D),) float64, descending."""
        self._reduce()
        singular: Tensor = torch.linalg.svdvals(self._factor)
        return singular

    def _reduce(self) -> None:
        if self._pending:
            self._factor = torch.linalg.qr(torch.cat([self._factor, *self._pending]), mode="r").R
            self._pending = []
