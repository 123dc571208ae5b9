"""Images in rows, each in a frame that says whether it is right."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from dsabench.report.figures.drawing import GRID, INK, MUTED, PAGE, RIGHT, WRONG, Style, folded, new_figure, styled

Array = np.ndarray[Any, Any]
# A larger image is shown at about this side: the page is to stay small.
SIDE = 64


@dataclass(frozen=True, eq=False)
class Shot:
    """An image (H, W) or (H, W, 3) in [0, 1], the words below it, and whether it is right, None where neither."""

    image: Array
    caption: str
    right: bool | None = None


def pictures(rows: Sequence[tuple[str, Sequence[Shot]]], style: Style = PAGE) -> Figure:
    """Draw rows of images, each row under its words; wrong ones have a broken frame and say so in their captions."""
    widest = max((len(shots) for _, shots in rows), default=1)
    with styled(style):
        height = style.width / max(widest, 6) + 0.42
        figure = new_figure(style, height * len(rows) * PAGE.size / style.size)
        grid = figure.subfigures(len(rows), 1, squeeze=False)[:, 0]
        for part, (words, shots) in zip(grid, rows, strict=True):
            part.set_facecolor("none")
            part.suptitle(folded(words, 70), x=0.01, ha="left", size=style.size)
            for place, axes in enumerate(part.subplots(1, max(widest, 6), squeeze=False)[0]):
                axes.set_xticks([])
                axes.set_yticks([])
                if place >= len(shots):
                    axes.axis("off")
                    continue
                _shot(axes, shots[place], style)
    return figure


def _shot(axes: Any, shot: Shot, style: Style) -> None:
    step = max(1, min(shot.image.shape[:2]) // SIDE)
    grey = shot.image.ndim == 2
    axes.imshow(shot.image[::step, ::step], cmap="gray" if grey else None, vmin=0, vmax=1, interpolation="none")
    colour = {True: RIGHT, False: WRONG, None: GRID}[shot.right]
    for spine in axes.spines.values():
        spine.set_visible(True)
        spine.set_color(colour)
        spine.set_linewidth(1 if shot.right is None else 2)
        spine.set_linestyle("--" if shot.right is False else "-")
    axes.set_xlabel(folded(shot.caption, 12), size=0.78 * style.size, color=MUTED if shot.right is None else INK)
