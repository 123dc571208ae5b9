"""Images as points of a plane, under two arms side by side, one colour and shape a class."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from dsabench.report.figures.drawing import COLOURS, INK, PAGE, SHAPES, SURFACE, Style, folded, new_figure, styled

# Beyond so many points a vector file is slower to show than it is sharp.
MOST_VECTORS = 250
MOST_NAMES = 25

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, eq=False)
class Plane:
    """`points` (N, 2) of images of classes `y` (N,), by the arm `title`."""

    title: str
    points: Array
    y: Array


def planes(content: tuple[Plane, Plane], classes: tuple[str, ...], style: Style = PAGE) -> Figure:
    """Draw both planes, each class named at the median of its points."""
    with styled(style):
        figure = new_figure(style, 3.1)
        for axes, plane in zip(figure.subplots(1, 2), content, strict=True):
            for place, name in enumerate(classes):
                x, y = plane.points[plane.y == place].T
                if not len(x):
                    continue
                axes.plot(
                    x, y, SHAPES[place % len(SHAPES)], color=COLOURS[place % len(COLOURS)], ms=3.2, mew=0, alpha=0.75,
                    rasterized=len(plane.y) > MOST_VECTORS, label=name, zorder=2,
                )  # fmt: skip
                if len(classes) <= MOST_NAMES:
                    box = {"boxstyle": "round,pad=0.15", "fc": SURFACE, "ec": "none", "alpha": 0.8}
                    axes.text(
                        float(np.median(x)), float(np.median(y)), folded(name, 12), ha="center", va="center",
                        color=INK, size=0.9 * style.size, bbox=box, zorder=3,
                    )  # fmt: skip
            axes.set_title(folded(plane.title, 30), loc="left")
            axes.set_xticks([])
            axes.set_yticks([])
            axes.set_aspect("equal", adjustable="datalim")
    return figure
