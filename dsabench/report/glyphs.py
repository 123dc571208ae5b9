"""Bars and curves as one line of text."""

from __future__ import annotations

import math

from dsabench.report.table import Bar, Curve

# Eighths of a character from the left, and from below; the last of either is the whole.
BARS = "▏▎▍▌▋▊▉█"
LEVELS = "▁▂▃▄▅▆▇█"
# Stands before the first value of something new.
ONSET = "╎"
BAR_WIDTH, CURVE_WIDTH = 20, 24


def bar(cell: Bar) -> str:
    """A bar of at most `BAR_WIDTH` characters; what is above nothing has a mark at least, a value below has none."""
    if not cell.share > 0:
        return ""
    whole, rest = divmod(max(1, round(min(cell.share, 1.0) * 8 * BAR_WIDTH)), 8)
    return BARS[-1] * whole + (BARS[rest - 1] if rest else "")


def sparkline(cell: Curve) -> str:
    """A curve of at most `CURVE_WIDTH` values, each the mean of its neighbours, and a mark where something sets in."""
    n = min(len(cell.values), CURVE_WIDTH)
    if n == 0:
        return ""
    # The first of its own values that each character stands for.
    starts = [place * len(cell.values) // n for place in range(n)]
    begins = None
    if cell.begins is not None:
        begins = max(place for place, start in enumerate(starts) if start <= cell.begins)
        starts[begins] = cell.begins
    marks = []
    for place, (start, end) in enumerate(zip(starts, [*starts[1:], len(cell.values)], strict=True)):
        finite = [value for value in cell.values[start:end] if math.isfinite(value)]
        marks.append((ONSET if place == begins else "") + (_level(cell, sum(finite) / len(finite)) if finite else " "))
    return "".join(marks)


def _level(cell: Curve, value: float) -> str:
    spread = cell.high - cell.low
    share = (value - cell.low) / spread if spread > 0 else 0.5
    return LEVELS[min(7, max(0, int(8 * share)))]
