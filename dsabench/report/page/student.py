"""Student's interval of a mean over seeds, as a page shows it beside the mean."""

from __future__ import annotations

import math
from functools import cache
from typing import NamedTuple

from dsabench.report.table import Cell, Mean


class Student(NamedTuple):
    """The ends of a 95% interval, and whether an end was `cut` off where a share can go no further."""

    low: float
    high: float
    cut: bool


def student(cell: Cell) -> Student | None:
    """The interval of a mean over two seeds or more, of a share within 0 and 1; None of anything else."""
    if not isinstance(cell, Mean) or cell.deviation is None or cell.n < 2:
        return None
    half = _quantile(cell.n - 1) * cell.deviation / math.sqrt(cell.n)
    low, high = cell.value - half, cell.value + half
    if cell.unit != "%":
        return Student(low, high, cut=False)
    # The t distribution knows no bounds, and an accuracy has them.
    return Student(max(0.0, low), min(1.0, high), cut=low < 0 or high > 1)


@cache
def _quantile(freedom: int) -> float:
    from scipy.stats import t

    return float(t.ppf(0.975, freedom))
