"""The forest plot: paired differences, a line a pair of arms, seeds as dots, what matters as a band."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dsabench.report.figures.drawing import BAND, COLOURS, GRID, INK, MUTED, PAGE, Style, folded, new_figure, styled


@dataclass(frozen=True)
class ForestLine:
    """One pair of arms: the differences of its `seeds`, their `mean`, the interval, the verdict.

    `mean` is None where no seed has both values; an end of the interval may be infinite.
    """

    label: str
    seeds: tuple[float, ...]
    mean: float | None
    low: float
    high: float
    word: str


@dataclass(frozen=True)
class Forest:
    """Lines over one axis; `band` (low, high) is what does not matter, `higher_is_better` the good side of 0."""

    axis: str
    lines: tuple[ForestLine, ...]
    higher_is_better: bool
    band: tuple[float, float] | None = None
    band_label: str = ""


def forest(content: Forest, style: Style = PAGE) -> Figure:
    """Draw a forest plot, the first line at the top; where an interval has no end an arrow says so."""
    labels = [folded(line.label) for line in content.lines]
    # A line is as high as its label.
    heights = [max(1.0, 0.62 * (1 + label.count("\n"))) for label in labels]
    places = [sum(heights[:place]) + height / 2 for place, height in enumerate(heights)]
    with styled(style):
        figure = new_figure(style, 1.0 + 0.3 * sum(heights))
        axes = figure.add_subplot()
        low, high = _range(content)
        if content.band is not None:
            axes.axvspan(*content.band, color=BAND, lw=0, label=content.band_label, zorder=0)
        axes.axvline(0.0, color=MUTED, lw=1, zorder=1)
        for place, line in zip(places, content.lines, strict=True):
            _line(axes, place, line, low, high, style)
        axes.set_yticks(places, labels)
        axes.set_ylim(sum(heights), 0)
        axes.set_xlim(low, high)
        axes.set_xlabel(content.axis)
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        axes.grid(axis="x", color=GRID, lw=0.6)
        axes.set_axisbelow(True)
        better, worse = ("better →", "← worse") if content.higher_is_better else ("← better", "worse →")
        sides = {"right": better, "left": worse} if content.higher_is_better else {"left": better, "right": worse}
        for side, word in sides.items():
            axes.set_title(word, loc=side, color=MUTED)  # type: ignore[arg-type]
        if content.band is not None and content.band_label:
            figure.legend(loc="outside lower center")
    return figure


def _line(axes: Axes, place: float, line: ForestLine, low: float, high: float, style: Style) -> None:
    axes.text(
        1.01, place, folded(line.word, 14), transform=axes.get_yaxis_transform(), va="center", size=0.85 * style.size
    )
    if line.mean is None:
        axes.text(0.0, place, "no seed has both values", va="center", ha="center", color=MUTED, size=0.85 * style.size)
        return
    if not (math.isinf(line.low) and line.low == line.high):
        axes.plot([max(line.low, low), min(line.high, high)], [place, place], color=INK, lw=1.6, zorder=3)
        for end, edge, shape in ((line.low, low, "<"), (line.high, high, ">")):
            if math.isinf(end):
                axes.plot([edge], [place], shape, color=INK, ms=6, clip_on=False, zorder=3)
    axes.plot(line.seeds, [place] * len(line.seeds), "o", color=COLOURS[0], ms=4, alpha=0.7, mew=0, zorder=4)
    inside = COLOURS[5] if line.word in ("better", "held") else "none"
    axes.plot([line.mean], [place], "D", mfc=inside, mec=COLOURS[5], mew=1.5, ms=6.5, zorder=5)


def _range(content: Forest) -> tuple[float, float]:
    """The ends of the axis: all finite numbers and some room, 0 among them."""
    values: Sequence[float] = [
        0.0,
        *(content.band or ()),
        *(value for line in content.lines for value in (*line.seeds, line.mean or 0.0, line.low, line.high)),
    ]
    finite = [value for value in values if math.isfinite(value)]
    room = 0.06 * (max(finite) - min(finite)) or 1.0
    return min(finite) - room, max(finite) + room
