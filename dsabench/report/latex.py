"""Writes tables as LaTeX with booktabs."""

from __future__ import annotations

import re
from collections.abc import Collection

from dsabench.report.table import WORDS, Arm, Cell, Column, Mean, Table
from dsabench.report.wording import LABELS, headed, printable, written

_SPECIAL = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "%": r"\%", "_": r"\_",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "±": r"$\pm$", "↑": r"$\uparrow$", "↓": r"$\downarrow$", LABELS: r"\textsuperscript{\dag}",
}  # fmt: skip
_ANY = re.compile("|".join(map(re.escape, _SPECIAL)))


def latex(table: Table, *, bold: Collection[tuple[int, int]] = ()) -> str:
    """A `table` environment that ends with a line break; needs the package booktabs.

    `bold` holds the cells (line, column) that a verdict allows to be set bold, lines counted over all sections.
    """
    align = "".join("l" if column.kind in WORDS else "r" for column in table.columns)
    lines = [r"\begin{table}", r"\centering", rf"\caption{{{escaped(table.title)}}}", rf"\begin{{tabular}}{{{align}}}"]
    lines += [r"\toprule", _line([escaped(headed(column)) for column in table.columns]), r"\midrule"]
    number = 0
    for place, section in enumerate(table.sections):
        if place:
            lines.append(r"\midrule")
        if section.heading:
            span = f"\\multicolumn{{{len(table.columns)}}}{{l}}"
            lines.append(rf"{span}{{\emph{{{escaped(section.heading)}}}}} \\")
        for row in section.rows:
            cells = [_cell(column, cell) for column, cell in zip(table.columns, row, strict=True)]
            lines.append(_line([rf"\textbf{{{c}}}" if (number, p) in bold and c else c for p, c in enumerate(cells)]))
            number += 1
    lines += [r"\bottomrule", r"\end{tabular}"]
    if table.notes:
        notes = " ".join(f"{escaped(note)}." for note in table.notes)
        lines.append(rf"\par\smallskip\footnotesize {notes}")
    return "\n".join([*lines, r"\end{table}"]) + "\n"


def _line(cells: list[str]) -> str:
    return " & ".join(cells) + r" \\"


def _cell(column: Column, cell: Cell) -> str:
    if isinstance(cell, Arm):
        text = cell.spec + (LABELS if cell.uses_labels else "")
        return escaped(" ".join([text, *(f"({remark.text})" for remark in cell.remarks)]))
    return escaped(written(cell))


def escaped(text: str) -> str:
    """Text on one line, with nothing in it that LaTeX would obey."""
    return _ANY.sub(lambda match: _SPECIAL[match[0]], printable(" ".join(text.split())))


def best_cells(table: Table, better: Collection[tuple[str, str]], column: str) -> set[tuple[int, int]]:
    """The cells (line, column) of a column of means that may be bold: of the best arm and all it was not shown to beat.

    `better` are the (arm, against) whose verdict is that. Arms that used labels do not compete. Empty where the best
    arm was shown to beat none: then bold would say more than a verdict does.
    """
    place = next((place for place, one in enumerate(table.columns) if one.label == column), None)
    if place is None or table.columns[place].higher_is_better is None:
        return set()
    sign = 1 if table.columns[place].higher_is_better else -1
    rows = [row for section in table.sections for row in section.rows]
    ranked = [
        (sign * cell.value, number, arm.spec)
        for number, row in enumerate(rows)
        if isinstance(cell := row[place], Mean) and isinstance(arm := row[0], Arm) and not arm.uses_labels
    ]
    best = max(ranked, default=(0.0, 0, ""))[2]
    beaten = {against for spec, against in better if spec == best}
    return {(number, place) for _, number, spec in ranked if spec not in beaten} if beaten else set()
