"""What the tables share: their frame, their notes, and symbols that the console can show."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple, TypeVar

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

T = TypeVar("T")
K = TypeVar("K")


class Marks(NamedTuple):
    """The symbols of a console: plain ASCII where its encoding has no others."""

    up: str
    down: str
    plus_minus: str
    labels: str

    @classmethod
    def of(cls, console: Console) -> Marks:
        return cls("^", "v", "/", "*") if console.options.ascii_only else cls("↑", "↓", "±", "†")

    def direction(self, higher_is_better: bool | None) -> str:
        return "" if higher_is_better is None else self.up if higher_is_better else self.down


def grouped(items: Iterable[T], key: Callable[[T], K]) -> dict[K, list[T]]:
    """Items by key, keys in order of first appearance."""
    groups: dict[K, list[T]] = {}
    for item in items:
        groups.setdefault(key(item), []).append(item)
    return groups


def new_table() -> Table:
    """An empty table with as little ornament as 80 columns need."""
    return Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=0)


def print_titled(console: Console, title: str, table: Table, notes: Iterable[str]) -> None:
    """Print a title, its table, the notes below it, and an empty line."""
    # Text, here and in every cell: a spec's [options] would be taken for rich's markup and vanish.
    console.print(Text(title, style="bold"))
    console.print(table)
    for note in notes:
        console.print(Text(note, style="dim"))
    console.print()
