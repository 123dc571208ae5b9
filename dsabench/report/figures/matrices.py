"""Class by class: who crowds whom."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.colors import Normalize, TwoSlopeNorm
from matplotlib.figure import Figure

from dsabench.report.figures.drawing import PAGE, Style, folded, new_figure, styled

# More classes than these have neither numbers nor names that one could read.
MOST_NUMBERS, MOST_NAMES = 12, 40


@dataclass(frozen=True)
class Matrix:
    """`values[row][column]` over classes, nan where there is none; `signed` for a difference, whose middle is 0."""

    title: str
    classes: tuple[str, ...]
    values: tuple[tuple[float, ...], ...]
    rows: str
    columns: str
    signed: bool = False
    most: float | None = None


def matrix(content: Matrix, style: Style = PAGE) -> Figure:
    """Draw a matrix with its numbers, where these can be read; `most` bounds the colours, for several on one scale."""
    values = np.array(content.values, dtype=float)
    finite = values[np.isfinite(values)]
    most = content.most or (float(np.abs(finite).max()) if len(finite) else 1.0) or 1.0
    scale = TwoSlopeNorm(0.0, -most, most) if content.signed else Normalize(0.0, most)
    n = len(content.classes)
    with styled(style):
        figure = new_figure(style, 3.3, 0.78)
        axes = figure.add_subplot()
        image = axes.imshow(values, cmap="PuOr" if content.signed else "cividis", norm=scale, interpolation="none")
        names = [folded(name, 10).split("\n")[0] for name in content.classes]
        ticks: Sequence[int] = range(n) if n <= MOST_NAMES else ()
        shown = names if n <= MOST_NAMES else ()
        turned = max(map(len, names), default=0) > 3
        axes.set_xticks(ticks, shown, rotation=90 if turned else 0)
        axes.set_yticks(ticks, shown)
        axes.tick_params(length=0)
        axes.set_xlabel(content.columns)
        axes.set_ylabel(content.rows)
        axes.set_title(content.title, loc="left")
        if n <= MOST_NUMBERS:
            for row in range(n):
                for column in range(n):
                    value = values[row, column]
                    if math.isfinite(value):
                        light = abs(value) > 0.55 * most
                        dark_text = (not light) if content.signed else light
                        axes.text(
                            column, row, _short(value), ha="center", va="center", size=0.58 * style.size,
                            color="#000000" if dark_text else "#ffffff",
                        )  # fmt: skip
        bar = figure.colorbar(image, ax=axes, shrink=0.8, format="%.3g")
        bar.outline.set_visible(False)
    return figure


def _short(value: float) -> str:
    text = f"{value:.2f}" if abs(value) < 9.95 else f"{value:.0f}"
    if float(text) == 0:
        return "0"
    return text.replace("0.", ".", 1) if text.lstrip("-").startswith("0.") else text
