"""Draws a page as one HTML file: no network, no build step, everything that came from outside escaped."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from importlib.resources import files
from itertools import groupby

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from dsabench import __version__
from dsabench.report.figures.drawing import PAGE, inline
from dsabench.report.page.blocks import Block, Drawing, Page
from dsabench.report.page.student import student
from dsabench.report.table import WORDS, Arm, Cell, Difference, Interval, Mean, Measure, Number, PValue, Verdict
from dsabench.report.wording import LABELS, headed, printable, written


def drawn(drawing: Drawing) -> Markup:
    """A figure as an element of the page."""
    # Escaped by matplotlib inside, and by `inline` what is added.
    return Markup(inline(drawing.draw(PAGE), drawing.name, drawing.alt))


def html(page: Page, figure: Callable[[Drawing], Markup] = drawn) -> str:
    """The page as text, with what `figure` makes of its drawings."""
    folder = files("dsabench.report.page")
    style, script = ((folder / name).read_text(encoding="utf-8") for name in ("page.css", "page.js"))
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"figure": figure, "words": _words, "order": order, "spread": spread, "headed": headed}
    environment.filters |= {"plain": printable, "groupby_kind": _runs, "breakable": _breakable}
    environment.tests["number"] = lambda column: column.kind not in WORDS
    environment.tests["arm"] = lambda cell: isinstance(cell, Arm)
    template = environment.from_string((folder / "page.html").read_text(encoding="utf-8"))
    # Both are files of this package, and hold nothing that came from outside.
    return template.render(
        page=page, style=Markup(style), script=Markup(script), version=__version__, labels_mark=LABELS
    )


def _runs(blocks: Sequence[Block]) -> list[dict[str, object]]:
    """Blocks of one kind that follow each other, together: figures stand side by side where there is room."""
    found = ((kind, list(some)) for kind, some in groupby(blocks, lambda block: type(block).__name__))
    return [{"kind": kind, "blocks": some} for kind, some in found]


def _breakable(text: str) -> Markup:
    """A name that may be broken where that reads best, its options set apart."""
    parts = re.split(r"(\[[^\]]*\])", printable(text))
    pieces = [Markup("<wbr>").join(re.split(r"(?<=[_,])|(?=[+])", part)) for part in parts]
    options = Markup('<wbr><span class="options">{}</span>')
    return Markup("").join(options.format(piece) if place % 2 else piece for place, piece in enumerate(pieces))


def _words(cell: Cell) -> str:
    return printable(written(cell))


def order(cell: Cell) -> str:
    """What a cell is sorted by: a number as it is, words as they are; nothing where there is no value."""
    match cell:
        case Mean() | Number() | Difference() | PValue():
            return "" if math.isnan(cell.value) else repr(cell.value)
        case Interval():
            return repr((cell.low + cell.high) / 2) if math.isfinite(cell.low + cell.high) else ""
        case Arm():
            return printable(cell.spec)
        case Measure():
            return printable(cell.label)
        case Verdict():
            return cell.word
        case None:
            return ""
        case _:
            return printable(str(cell))


def spread(cell: Cell) -> str:
    """Student's 95% interval of a mean over seeds; empty where there is none."""
    interval = student(cell)
    if interval is None or not isinstance(cell, Mean):
        return ""
    low, high = (written(Number(end, cell.unit)) for end in (interval.low, interval.high))
    return f"{low} to {high}"
