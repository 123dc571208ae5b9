"""Draws tables on a console with rich, within its width and its encoding."""

from __future__ import annotations

from collections.abc import Sequence

from rich import table as grid
from rich.box import SIMPLE_HEAD
from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from dsabench.report.glyphs import BARS, LEVELS, ONSET
from dsabench.report.table import LEFT, WORDS, Arm, Cell, Column, Table, Verdict
from dsabench.report.wording import LABELS, broken, fitted, marks, printable, written

_TONES = {"aside": "dim", "warning": "yellow", "failure": "red"}
_VERDICTS = {
    "better": "bold green",
    "worse": "bold red",
    "better by less than matters": "green",
    "tighter, not better": "yellow",
    "not better, fails more often": "yellow",
    "not better, a guard was not measured": "yellow",
    "undecided, runs are missing": "yellow",
    "too few": "yellow",
    "no seeds": "dim",
    "not shown": "dim",
    "no difference": "dim",
}
# For encodings without these symbols.
_PLAIN = str.maketrans(
    {
        "↑": "^",
        "↓": "v",
        "±": "/",
        LABELS: "*",
        ONSET: "!",
        **dict(zip(BARS, ":::::::#", strict=True)),
        **dict(zip(LEVELS, "_.-:=+*#", strict=True)),
    }
)
# As long as barlow_twins+dsa: what is left of 80 columns beside all the headline metrics; a wider console leaves more.
_SPEC_WIDTH, _BESIDE = 16, 64
_HEAD_WIDTH, _NUMBER_WIDTH = 9, 12
# The longest verdicts stand in a line or two: their words are folded before those of a metric.
_VERDICT_WIDTH = 13
# Words are folded to so few columns before numbers move into a block of their own, a single word to the second.
_LEAST_WIDTH, _WORD_WIDTH = 12, 20


def draw(console: Console, table: Table) -> None:
    """Print a table: its title, its lines, the notes below them, and an empty line after a titled one.

    Words are folded where the console is narrow; numbers are not, so those that find no room stand in a further block
    of columns below, the names of the lines before them again.
    """
    if table.title:
        write(console, table.title, "bold")
    if table.columns:
        widths = [_width(console, table, place) for place in range(len(table.columns))]
        for places in _blocks(widths, console.width):
            # For the names in the first column: what the others and the lines between them leave.
            room = console.width - sum(widths[place] + 1 for place in places[1:])
            console.print(_grid(console, table, places, room))
    for note in table.notes:
        write(console, note, "dim")
    if table.title:
        console.print()


def write(console: Console, text: str, style: str = "") -> None:
    """Print text; a word that is longer than a line, as a spec with options, is broken where it reads best."""
    console.print(_text(console, fitted(text, console.width), style))


def _blocks(widths: Sequence[int], room: int) -> list[list[int]]:
    """The columns of each block: as many as fit side by side, the first of all again before the others."""
    blocks, used = [[0]], widths[0]
    for place, width in enumerate(widths[1:], start=1):
        if used + 1 + width > room and len(blocks[-1]) > 1:
            blocks.append([0])
            used = widths[0]
        blocks[-1].append(place)
        used += 1 + width
    return blocks


def _width(console: Console, table: Table, place: int) -> int:
    """How many characters a column needs at least: whole numbers, folded words."""
    column = table.columns[place]
    texts = [
        _head(console, column),
        *(_cell(console, column, row[place], _LEAST_WIDTH) for s in table.sections for row in s.rows),
    ]
    width = max(cell_len(line) for text in texts for line in text.plain.split("\n"))
    if _single_words(table, place):
        return width
    return min(width, {**dict.fromkeys(WORDS, _LEAST_WIDTH), "number": _NUMBER_WIDTH}.get(column.kind, width))


def _single_words(table: Table, place: int) -> bool:
    """Whether a column of words has single ones alone, as the names of data sets, or short ones."""
    cells = [row[place] for section in table.sections for row in section.rows]
    return table.columns[place].kind == "text" and all(
        cell is None or (isinstance(cell, str) and (len(cell) <= _LEAST_WIDTH or " " not in cell)) for cell in cells
    )


def _grid(console: Console, table: Table, places: Sequence[int], room: int) -> grid.Table:
    # As little ornament as 80 columns need.
    drawn = grid.Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=0)
    for place in places:
        column = table.columns[place]
        drawn.add_column(
            _head(console, column),
            style="bold" if column.kind == "name" else "",
            justify="left" if column.kind in LEFT else "right",
            max_width={"number": _NUMBER_WIDTH, "verdict": _VERDICT_WIDTH}.get(column.kind),
            no_wrap=room > 0 and (column.kind not in (*WORDS, "number") or _single_words(table, place)),
            overflow="fold",
        )
    for section in table.sections:
        if section.heading:
            drawn.add_row(_text(console, section.heading, "italic cyan"))
        for row in section.rows:
            style = "bold" if section.emphasised else ""
            cells = (_cell(console, table.columns[place], row[place], room) for place in places)
            drawn.add_row(*cells, style=style)
    return drawn


def _head(console: Console, column: Column) -> Text:
    name = column.label if column.kind in WORDS else broken(column.label, _HEAD_WIDTH)
    return _text(console, f"{name}\n{marks(column)}" if column.kind == "mean" else name)


def _cell(console: Console, column: Column, cell: Cell, room: int) -> Text:
    if isinstance(cell, Verdict):
        return _text(console, cell.word, _VERDICTS.get(cell.word, ""))
    if isinstance(cell, str) and column.kind == "text":
        # A single word, as the name of a backbone, takes no more than a quarter of a narrow console.
        return _text(console, cell if " " in cell else fitted(cell, max(_WORD_WIDTH, console.width // 4)))
    if not isinstance(cell, Arm):
        return _text(console, written(cell))
    text = _text(
        console,
        broken(cell.spec + (LABELS if cell.uses_labels else ""), min(room, max(_SPEC_WIDTH, console.width - _BESIDE))),
    )
    for remark in cell.remarks:
        text.append_text(_text(console, f"\n  {remark.text}", _TONES[remark.tone]))
    return text


def _text(console: Console, text: str, style: str = "") -> Text:
    # Text, here and in every cell: a spec's [options] would be taken for rich's markup and vanish.
    shown = printable(text.translate(_PLAIN) if console.options.ascii_only else text)
    return Text(shown.encode(console.encoding, "replace").decode(console.encoding), style=style)
