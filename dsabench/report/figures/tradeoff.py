"""Crowding against accuracy: every arm a point with its spread, an arrow from the plain method to the regularized."""

from __future__ import annotations

import math
from dataclasses import dataclass

from matplotlib.figure import Figure

from dsabench.report.figures.drawing import GRID, INK, MUTED, PAGE, SURFACE, Style, folded, looks, new_figure, styled
from dsabench.report.figures.labels import Box, Place, beside


@dataclass(frozen=True)
class Point:
    """An arm: its mean and standard deviation over seeds on either axis, and how its options were chosen."""

    spec: str
    x: float
    x_spread: float
    y: float
    y_spread: float
    tuned: bool = False


@dataclass(frozen=True)
class Tradeoff:
    """Points, and `arrows` (from, to) between their specs; `better` is where the good corner lies.

    Those `outside` are floors, which would crush the others into a corner: they are told in words. No cross reaches
    above `highest`, which an accuracy cannot.
    """

    x_axis: str
    y_axis: str
    points: tuple[Point, ...]
    arrows: tuple[tuple[str, str], ...] = ()
    better: str = ""
    highest: float = math.inf
    outside: tuple[Point, ...] = ()


def tradeoff(content: Tradeoff, style: Style = PAGE) -> Figure:
    """Draw the points: hollow plain, filled regularized, a ring around those that were tuned."""
    look = looks([point.spec for point in content.points])
    at = {point.spec: (point.x, point.y) for point in content.points}
    many = len(content.points) > 20
    with styled(style):
        figure = new_figure(style, 5.8, 1.7) if many else new_figure(style, 4.4)
        axes = figure.add_subplot()
        xs = [point.x for point in content.points]
        if min(xs, default=0.0) > 0 and max(xs) > 12 * min(xs):
            axes.set_xscale("log")
        for start, end in content.arrows:
            axes.annotate(
                "",
                at[end],
                at[start],
                arrowprops={"arrowstyle": "->", "color": look[start].colour, "lw": 1.2, "shrinkA": 5, "shrinkB": 5},
                zorder=3,
            )
        for point in content.points:
            one = look[point.spec]
            axes.errorbar(
                point.x, point.y, xerr=point.x_spread, yerr=_up_and_down(point, content.highest), fmt="none",
                ecolor=one.colour, lw=0.8,
                alpha=0.6, zorder=2,
            )  # fmt: skip
            axes.plot(
                [point.x], [point.y], one.shape, mec=one.colour, mfc=one.colour if one.filled else "none", mew=1.6,
                ms=7, zorder=4, label=point.spec,
            )  # fmt: skip
            if point.tuned:
                axes.plot([point.x], [point.y], "o", mec=INK, mfc="none", mew=0.8, ms=12, zorder=4)
        axes.set_xlabel(content.x_axis)
        axes.set_ylabel(content.y_axis)
        axes.grid(color=GRID, lw=0.6)
        axes.set_axisbelow(True)
        axes.margins(0.12)
        if content.better:
            axes.set_title(content.better, loc="left", color=MUTED)
        # Labels find their places among points that stand still.
        figure.draw_without_rendering()
        figure.set_layout_engine("none")
        size = 0.72 * style.size if many else 0.85 * style.size
        names = [folded(point.spec) for point in content.points]
        pixels: dict[str, Place] = {}
        for spec, point_at in at.items():
            across, up = axes.transData.transform(point_at)
            pixels[spec] = (float(across), float(up))
        frame = axes.get_window_extent()
        ways = [(pixels[start], pixels[end]) for start, end in content.arrows]
        boxes = beside(names, [*pixels.values()], size * figure.dpi / 72, Box(*frame.extents), ways)
        for name, point, pixel, place in zip(names, content.points, pixels.values(), boxes, strict=True):
            left, middle = map(float, axes.transData.inverted().transform((place.left, (place.bottom + place.top) / 2)))
            far = place.distance(*pixel) > 1.2 * size * figure.dpi / 72
            if far:
                axes.annotate(
                    "",
                    (point.x, point.y),
                    (left, middle),
                    arrowprops={"arrowstyle": "-", "color": MUTED, "lw": 0.5},
                    zorder=1,
                )
            box = {"boxstyle": "round,pad=0.05", "fc": SURFACE, "ec": "none", "alpha": 0.75}
            axes.text(left, middle, name, va="center", ha="left", size=size, zorder=6, bbox=box)
    return figure


def _up_and_down(point: Point, highest: float) -> list[list[float]]:
    """The lengths of a point's bar, downwards and upwards."""
    return [[point.y_spread], [min(point.y_spread, highest - point.y)]]
