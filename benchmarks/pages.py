"""The page beside each committed table that links one, and the figures that the texts show: drawn from `results/*.csv`
alone."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path

from benchmarks.committed import CRITERIA, RESULTS, tables
from dsabench.report.figures.drawing import STYLES, svg
from dsabench.report.markdown import escaped
from dsabench.report.page.blocks import Drawing, Page
from dsabench.report.page.document import page_of
from dsabench.report.page.html import html
from dsabench.report.page.material import material_of

README = STYLES["readme"]
# `![what it shows](results/NAME.svg)`, from the folder of either text.
_PICTURE = re.compile(r"!\[(?:\\.|[^]\\])*\]\(((?:results/)?([\w.-]+)\.svg)\)")


@cache
def paged() -> list[str]:
    """The tables of rows whose page results/README.md links."""
    text = (RESULTS / "README.md").read_text(encoding="utf-8")
    return [name for name in tables() if f"]({name}.html)" in text]


@cache
def page(name: str) -> Page:
    """The page of a committed table, which calls it as one does from the repository's root."""
    material = material_of(RESULTS / f"{name}.csv", CRITERIA)
    return page_of([(replace(material, source=f"results/{name}.csv"), None)])


@cache
def drawings() -> Mapping[str, Drawing]:
    """Every figure of every page by its name."""
    return {drawing.name: drawing for name in paged() for drawing in page(name).drawings()}


def described(text: str) -> str:
    """A text in which each of our figures says in words what it shows; other pictures are left as they are."""

    def picture(found: re.Match[str]) -> str:
        drawing = drawings().get(found[2])
        return found[0] if drawing is None else f"![{escaped(drawing.alt)}]({found[1]})"

    return _PICTURE.sub(picture, text)


def shown(text: str) -> list[str]:
    """The names of our figures in a text."""
    return [found[2] for found in _PICTURE.finditer(text) if found[2] in drawings()]


def pages() -> dict[Path, str]:
    """The page of every table that has one."""
    return {RESULTS / f"{name}.html": html(page(name)) for name in paged()}


def figures(texts: list[str]) -> dict[Path, str]:
    """The figures that these texts show, as SVG files."""
    names = dict.fromkeys(name for text in texts for name in shown(text))
    return {RESULTS / f"{name}.svg": svg(drawings()[name].draw(README), README) for name in names}
