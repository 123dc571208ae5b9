"""What a page is made of, as values: words, lists, tables, figures, and what is not there with how to get it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from matplotlib.figure import Figure

from dsabench.report.figures.drawing import Style
from dsabench.report.table import Table


@dataclass(frozen=True)
class Words:
    """A paragraph, or in a box if it is the finding itself."""

    text: str
    emphasised: bool = False


@dataclass(frozen=True)
class Listing:
    """Lines of a list."""

    lines: tuple[str, ...]


@dataclass(frozen=True)
class Command:
    """A command to be copied."""

    text: str


@dataclass(frozen=True)
class Grid:
    """A table that a reader can sort, and search where `filtered`."""

    table: Table
    filtered: bool = False


@dataclass(frozen=True)
class Drawing:
    """A figure by `name`, drawn in a style when it is asked for; `alt` says what it shows, `caption` how to read it.

    Three `small` ones stand beside each other where there is room, else two.
    """

    name: str
    draw: Callable[[Style], Figure]
    alt: str
    caption: str
    small: bool = False


@dataclass(frozen=True)
class Fold:
    """Blocks that open when the reader asks for them."""

    title: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True)
class Absent:
    """Why a section has nothing to show, and the command that changes it, if one does."""

    why: str
    command: str = ""


Block: TypeAlias = Words | Listing | Command | Grid | Drawing | Fold | Absent


@dataclass(frozen=True)
class Section:
    """A titled part of a page; `anchor` is unique in it."""

    anchor: str
    title: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True)
class Chapter:
    """All sections of one comparison."""

    title: str
    opening: tuple[Block, ...]
    sections: tuple[Section, ...]


@dataclass(frozen=True)
class Page:
    """A whole report: what several comparisons share comes before the chapters."""

    title: str
    opening: tuple[Block, ...]
    chapters: tuple[Chapter, ...]

    def drawings(self) -> list[Drawing]:
        """All figures, in order."""
        blocks = [*self.opening]
        for chapter in self.chapters:
            blocks += [*chapter.opening, *(block for section in chapter.sections for block in section.blocks)]
        return [block for block in _unfolded(blocks) if isinstance(block, Drawing)]


def _unfolded(blocks: list[Block]) -> list[Block]:
    return [inner for block in blocks for inner in (_unfolded([*block.blocks]) if isinstance(block, Fold) else [block])]
