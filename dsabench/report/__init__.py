"""Results for people: tables as values, what draws them, one plain sentence a comparison, and the summary CSV.

`overview_tables`, `paired_tables`, `value_tables` and `listing_table` compute tables, `terminal.draw` and
`markdown.markdown` draw one; `print_...` compute and draw on a console.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from dsabench.report.differences import paired_tables
from dsabench.report.entries import listing_table
from dsabench.report.overview import overview_tables
from dsabench.report.sentences import declared, finding, per_image
from dsabench.report.summary import write_summary
from dsabench.report.table import Table
from dsabench.report.values import value_tables
from dsabench.report.wording import label

if TYPE_CHECKING:
    from rich.console import Console

    from dsabench.evaluation.classes import ByClass
    from dsabench.stats import Comparison
    from dsabench.tables.rows import Row

__all__ = [
    "declared",
    "finding",
    "label",
    "listing_table",
    "overview_tables",
    "paired_tables",
    "per_image",
    "print_by_class",
    "print_comparisons",
    "print_listing",
    "print_overview",
    "print_values",
    "value_tables",
    "write_summary",
]


def print_overview(console: Console, rows: Sequence[Row], *, layer: str = "backbone") -> None:
    """Draw `overview_tables`."""
    _draw(console, overview_tables(rows, layer=layer))


def print_comparisons(console: Console, comparisons: Sequence[Comparison], *, limit: int | None = None) -> None:
    """Draw `paired_tables`."""
    _draw(console, paired_tables(comparisons, limit=limit))


def print_values(console: Console, rows: Sequence[Row]) -> None:
    """Draw `value_tables`."""
    _draw(console, value_tables(rows))


def print_by_class(console: Console, found: ByClass) -> None:
    """Draw `class_tables.class_tables`."""
    # Classes are counted in tensors, and no other table needs torch.
    from dsabench.report.class_tables import class_tables

    _draw(console, class_tables(found))


def print_listing(console: Console, kind: str, entries: Sequence[Mapping[str, str]]) -> None:
    """Draw `listing_table`."""
    _draw(console, [listing_table(kind, entries)])


def _draw(console: Console, tables: Sequence[Table]) -> None:
    # Tables need no console, so only drawing one imports rich.
    from dsabench.report.terminal import draw

    for table in tables:
        draw(console, table)
