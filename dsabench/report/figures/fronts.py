"""What the trials of a search reach: crowding against accuracy, with the front of each arm."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.figure import Figure

from dsabench.report.figures.drawing import GRID, MUTED, PAGE, Style, folded, looks, new_figure, styled


@dataclass(frozen=True)
class Trials:
    """An arm's trials as points: less is better across, more is better up."""

    arm: str
    points: tuple[tuple[float, float], ...]

    @property
    def front(self) -> tuple[tuple[float, float], ...]:
        """The points that no other is at least as good as in both, from the left: Pareto's."""
        best: list[tuple[float, float]] = []
        for point in sorted(self.points, key=lambda one: (one[0], -one[1])):
            if not best or point[1] > best[-1][1]:
                best.append(point)
        return tuple(best)


def fronts(content: Sequence[Trials], x_axis: str, y_axis: str, style: Style = PAGE) -> Figure:
    """Draw each arm's front as steps, and its other trials faintly."""
    look = looks([arm.arm for arm in content])
    with styled(style):
        figure = new_figure(style, 3.4 + 0.2 * ((len(content) + 1) // 2))
        axes = figure.add_subplot()
        for arm in content:
            one = look[arm.arm]
            filled = one.colour if one.filled else "none"
            rest = [point for point in arm.points if point not in arm.front]
            for point in rest:
                axes.plot(*point, one.shape, color=one.colour, mfc=filled, ms=3, alpha=0.35)
            axes.plot(
                *zip(*arm.front, strict=True), one.dash, marker=one.shape, color=one.colour, mfc=filled, lw=1.4, ms=5,
                drawstyle="steps-post", label=folded(arm.arm, 40).replace("\n", ""),
            )  # fmt: skip
        axes.set_xlabel(x_axis)
        axes.set_ylabel(y_axis)
        axes.set_title("↖ better", loc="left", color=MUTED)
        axes.grid(color=GRID, lw=0.6)
        axes.set_axisbelow(True)
        figure.legend(loc="outside lower center", ncols=2)
    return figure
