"""Writes tables as CSV: numbers whole, a mean and its deviation in columns of their own."""

from __future__ import annotations

from collections.abc import Iterator

from dsabench.report.table import Arm, Cell, Column, Difference, Interval, Mean, Number, PValue, Table
from dsabench.report.wording import written
from dsabench.tables.rows import csv_text


def table_csv(table: Table) -> str:
    """A table as CSV text, its section headings in a first column where it has any."""
    headed = any(section.heading for section in table.sections)
    header = [*(["section"] if headed else []), *(name for column in table.columns for name in _names(column))]
    records = [
        [*([section.heading] if headed else [])]
        + [value for column, cell in zip(table.columns, row, strict=True) for value in _values(column, cell)]
        for section in table.sections
        for row in section.rows
    ]
    return csv_text(header, records)


def _names(column: Column) -> Iterator[str]:
    if column.kind == "mean":
        yield from (column.label, f"{column.label} std", f"{column.label} n")
    elif column.kind == "interval":
        yield from (f"{column.label} low", f"{column.label} high")
    else:
        yield column.label
        if column.kind == "text" and column.label == "spec":
            yield from ("labels used", "remarks")


def _values(column: Column, cell: Cell) -> Iterator[object]:
    match cell:
        case Mean():
            yield from (cell.value, cell.deviation, cell.n)
        case Interval():
            yield from (cell.low, cell.high)
        case Number() | Difference() | PValue():
            yield cell.value
        case Arm():
            yield from (cell.spec, cell.uses_labels, "; ".join(remark.text for remark in cell.remarks))
        case _:
            text = None if cell is None else written(cell)
            yield from [text] + [None] * (len(list(_names(column))) - 1)
