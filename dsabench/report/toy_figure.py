"""The picture that explains the tool: features of two dimensions, what crowds whom, and the numbers beneath."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Ellipse

# Okabe and Ito's colours, which the colour-blind tell apart, and two more for ten classes.
COLOURS = ("#E69F00", "#56B4E9", "#009E73", "#CC79A7", "#0072B2", "#D55E00", "#000000", "#999933", "#882255", "#888888")
# Of a normal distribution an ellipse of two standard deviations holds 86% in the plane.
DEVIATIONS = 2.0

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Panel:
    """What one model says: its `title`, features `x` (N, 2), classes `y` (N,) and the lines of numbers beneath."""

    title: str
    x: Array
    y: Array
    numbers: Sequence[str]


def toy_figure(panels: Sequence[Panel], classes: Sequence[str], title: str) -> Figure:
    """Panels side by side: points, class means as crosses, ellipses of two standard deviations along the axes of each
    class, one colour a class. Each panel has a scale of its own: what is compared has no unit."""
    figure = Figure(figsize=(3.1 * len(panels), 4.1), layout="constrained")
    figure.suptitle(title)
    for place, panel in enumerate(panels, start=1):
        _draw(figure.add_subplot(1, len(panels), place), panel)
    axes = figure.axes[0]
    handles = [axes.plot([], [], "o", color=COLOURS[k % len(COLOURS)], label=name)[0] for k, name in enumerate(classes)]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(classes), frameon=False, fontsize="small")
    return figure


def _draw(axes: Axes, panel: Panel) -> None:
    axes.set_title(panel.title, fontsize="medium")
    for label in np.unique(panel.y):
        colour, rows = COLOURS[label % len(COLOURS)], panel.x[panel.y == label]
        axes.plot(*rows.T, "o", color=colour, markersize=2, alpha=0.5, markeredgewidth=0, zorder=1)
        axes.add_patch(ellipse(rows, colour))
        axes.plot(*rows.mean(axis=0), "P", color=colour, markeredgecolor="white", markersize=8, zorder=3)
    # Single strays must not squeeze the rest together.
    low, high = np.quantile(panel.x, (0.005, 0.995), axis=0)
    room = 0.15 * (high - low) + 1e-9
    axes.set_xlim(low[0] - room[0], high[0] + room[0])
    axes.set_ylim(low[1] - room[1], high[1] + room[1])
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_xlabel("\n".join(panel.numbers), fontsize="small")


def ellipse(rows: Array, colour: str) -> Ellipse:
    """Two standard deviations of rows (N, 2) about their mean, along the axes of their covariance."""
    values, vectors = np.linalg.eigh(np.cov(rows.T, bias=True))
    width, height = 2 * DEVIATIONS * np.sqrt(np.clip(values, 0, None))
    angle = float(np.degrees(np.arctan2(vectors[1, 0], vectors[0, 0])))
    centre = tuple(rows.mean(axis=0).tolist())
    return Ellipse(centre, width, height, angle=angle, fill=False, edgecolor=colour, linewidth=1.5, zorder=2)


def drawn(figure: Figure, kind: str) -> bytes:
    """A figure as `svg` or `png`, the same bytes each time: no date, no random names."""
    content = BytesIO()
    with rc_context({"svg.hashsalt": "dsabench", "svg.fonttype": "none"}):
        FigureCanvasAgg(figure)
        metadata: dict[str, Any] = {"Date": None} if kind == "svg" else {"Software": None}
        figure.savefig(content, format=kind, dpi=110, metadata=metadata)
    return content.getvalue()
