"""A table as a value: its columns, its cells as numbers and words, its notes. Style is for whoever draws it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal, TypeAlias, TypeVar

T = TypeVar("T")
K = TypeVar("K")
# What a difference must exceed, absolutely and in parts of the means, to be more than rounding in float64.
_ROUNDING, _ROUNDING_OF_MEANS = 1e-12, 1e-9

Kind: TypeAlias = Literal[
    "name", "text", "count", "number", "mean", "difference", "interval", "p", "verdict", "picture"
]
# What reads from left to right and may be folded; columns of all other kinds are numbers, or pictures.
WORDS: frozenset[Kind] = frozenset({"name", "text", "verdict"})
LEFT: frozenset[Kind] = WORDS | {"picture"}


@dataclass(frozen=True)
class Column:
    """What the cells of a column are; a metric's has a unit and the direction in which it is better, if either is."""

    label: str
    kind: Kind
    unit: str = ""
    higher_is_better: bool | None = None


@dataclass(frozen=True)
class Measure:
    """The metric that a line is about, where each line has its own."""

    label: str
    unit: str
    higher_is_better: bool | None


@dataclass(frozen=True)
class Remark:
    """What a reader must know before comparing a line with another: `2 failed`, `120 epochs`."""

    text: str
    tone: Literal["aside", "warning", "failure"]


@dataclass(frozen=True)
class Arm:
    """The spec that a line is about."""

    spec: str
    uses_labels: bool = False
    remarks: tuple[Remark, ...] = ()


@dataclass(frozen=True)
class Number:
    """A value in its unit: `%` is a share of 1, `s` are seconds."""

    value: float
    unit: str = ""


@dataclass(frozen=True)
class Difference:
    """A signed difference of two values; `size` is that of the larger one, which its digits are chosen by.

    What is at the size of rounding is 0.
    """

    value: float
    unit: str
    size: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "value", _settled(self.value, self.size))


@dataclass(frozen=True)
class Interval:
    """An interval of a difference, its ends infinite where there is no bound; `size` and rounding as of the difference.

    One infinity at both ends: no finite difference is left, as where every run of an arm failed.
    """

    low: float
    high: float
    unit: str
    size: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "low", _settled(self.low, self.size))
        object.__setattr__(self, "high", _settled(self.high, self.size))


def _settled(difference: float, size: float) -> float:
    return 0.0 if abs(difference) < max(_ROUNDING, _ROUNDING_OF_MEANS * size) else difference


@dataclass(frozen=True)
class Mean:
    """A mean over `n` seeds or runs with its sample standard deviation, None where there is but one."""

    value: float
    deviation: float | None
    n: int
    unit: str = ""


@dataclass(frozen=True)
class PValue:
    """The p of a test."""

    value: float


@dataclass(frozen=True)
class Verdict:
    """What a comparison came to, in one word or two."""

    word: str


@dataclass(frozen=True)
class Bar:
    """A length beside a value, as a share of the longest in its column."""

    share: float


@dataclass(frozen=True)
class Curve:
    """Values in order, nan where there is none, on the scale from `low` to `high`.

    `begins` is the place where something new sets in that moves the curve, such as a term of the loss.
    """

    values: tuple[float, ...]
    low: float
    high: float
    begins: int | None = None


Cell: TypeAlias = (
    str | int | Measure | Arm | Number | Difference | Interval | Mean | PValue | Verdict | Bar | Curve | None
)


@dataclass(frozen=True)
class Section:
    """Lines that belong together, under a heading where the table has several such groups."""

    rows: tuple[tuple[Cell, ...], ...]
    heading: str = ""
    emphasised: bool = False


@dataclass(frozen=True)
class Table:
    """A title, columns, sections of lines with one cell a column, and notes; raises ValueError for uneven lines."""

    title: str
    columns: tuple[Column, ...]
    sections: tuple[Section, ...]
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for row in (row for section in self.sections for row in section.rows):
            if len(row) != len(self.columns):
                raise ValueError(f"a line of {len(row)} cells in a table of {len(self.columns)} columns: {row}")


def grouped(items: Iterable[T], key: Callable[[T], K]) -> dict[K, list[T]]:
    """Items by key, keys in order of first appearance."""
    groups: dict[K, list[T]] = {}
    for item in items:
        groups.setdefault(key(item), []).append(item)
    return groups
