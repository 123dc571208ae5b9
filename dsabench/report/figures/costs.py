"""What arms cost: one panel a quantity, a line an arm."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.figure import Figure

from dsabench.report.figures.drawing import GRID, PAGE, Style, folded, looks, new_figure, styled


@dataclass(frozen=True)
class Cost:
    """One quantity: the value of every run of each arm."""

    axis: str
    runs: tuple[tuple[str, tuple[float, ...]], ...]


def costs(content: Sequence[Cost], style: Style = PAGE) -> Figure:
    """Draw the quantities side by side: runs as dots, their median as a bar."""
    specs = [spec for spec, _ in content[0].runs]
    look = looks(specs)
    labels = [folded(spec) for spec in specs]
    heights = [max(1.0, 0.62 * (1 + label.count("\n"))) for label in labels]
    places = [sum(heights[:place]) + height / 2 for place, height in enumerate(heights)]
    with styled(style):
        figure = new_figure(style, 1.05 + 0.28 * sum(heights), 1.4)
        panels = figure.subplots(1, len(content), sharey=True, squeeze=False)[0]
        for axes, cost in zip(panels, content, strict=True):
            for place, (spec, values) in zip(places, cost.runs, strict=True):
                if values:
                    middle = sorted(values)[len(values) // 2]
                    axes.barh(place, middle, 0.6, color=look[spec].colour, alpha=0.35)
                    axes.plot(values, [place] * len(values), look[spec].shape, color=look[spec].colour, ms=3.5, mew=0)
            axes.set_xlabel(cost.axis.replace(", ", ",\n"))
            axes.set_xlim(left=0)
            axes.grid(axis="x", color=GRID, lw=0.6)
            axes.set_axisbelow(True)
            axes.tick_params(axis="y", length=0)
            axes.locator_params(axis="x", nbins=3)
        panels[0].set_yticks(places, labels)
        panels[0].set_ylim(sum(heights), 0)
    return figure
