"""Writes tables as GitHub's Markdown."""

from __future__ import annotations

import re
from collections.abc import Sequence

from dsabench.report.table import LEFT, Arm, Cell, Column, Table
from dsabench.report.wording import LABELS, headed, printable, written

_SPECIAL = re.compile(r"[\\`*_\[\]<>|~$&]")


def markdown(table: Table) -> str:
    """A table as text that ends with a line break: title in bold, pipes, section headings in bold, notes as a list.

    Names stay as they are: what Markdown would read as markup is escaped.
    """
    parts = [[f"**{escaped(table.title)}**"]] if table.title else []
    if table.columns:
        parts.append(_lines(table))
    if table.notes:
        parts.append([f"- {escaped(note)}" for note in table.notes])
    return "\n\n".join("\n".join(part) for part in parts) + "\n"


def _lines(table: Table) -> list[str]:
    lines = [
        _line([escaped(headed(column)) for column in table.columns]),
        _line(["---" if column.kind in LEFT else "---:" for column in table.columns]),
    ]
    for section in table.sections:
        if section.heading:
            lines.append(_line([_bold(escaped(section.heading)), *[""] * (len(table.columns) - 1)]))
        for row in section.rows:
            cells = [_cell(column, cell) for column, cell in zip(table.columns, row, strict=True)]
            lines.append(_line([_bold(cell) for cell in cells] if section.emphasised else cells))
    return lines


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _cell(column: Column, cell: Cell) -> str:
    if isinstance(cell, Arm):
        text = cell.spec + (LABELS if cell.uses_labels else "")
        return escaped(" ".join([text, *(f"({remark.text})" for remark in cell.remarks)]))
    text = escaped(written(cell, plus_minus=" ± "))
    return _bold(text) if column.kind == "name" else text


def _bold(text: str) -> str:
    return f"**{text}**" if text else ""


def escaped(text: str) -> str:
    """Text on one line, with nothing in it that Markdown would read as markup."""
    return _SPECIAL.sub(r"\\\g<0>", printable(" ".join(text.split())))
