"""Arms under brief names, where their options would be told again and again, and what these names stand for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from dsabench.report.table import Table
from dsabench.tables.rows import Row

if TYPE_CHECKING:
    # SciPy comes with it, and torch with the other.
    from dsabench.stats import Comparison
    from dsabench.stats.weights import ImageComparison

    Compared = TypeVar("Compared", Comparison, ImageComparison)


def rows_called(rows: Sequence[Row], names: Mapping[str, str]) -> list[Row]:
    """Rows to be shown, each with the name of its arm for a spec; an arm without one keeps its spec."""
    return [replace(row, method=names.get(row.spec, row.spec), regularizer="none") for row in rows]


def comparisons_called(comparisons: Sequence[Compared], names: Mapping[str, str]) -> list[Compared]:
    """Comparisons to be shown, both arms of each under their names; an arm without one keeps its spec."""
    return [
        replace(one, spec=names.get(one.spec, one.spec), against=names.get(one.against, one.against))
        for one in comparisons
    ]


def legend(names: Mapping[str, str]) -> list[Table]:
    """What names stand for, a line an arm, as a table without lines; none where every arm is called by its spec."""
    lines = tuple(f"{name}: {arm}" for arm, name in names.items() if name != arm)
    return [Table("arms in full", (), (), lines)] if lines else []
