"""What a search buys: the best value to be expected after so many trials, arm by arm."""

from __future__ import annotations

from dataclasses import dataclass

from matplotlib.figure import Figure

from dsabench.report.figures.drawing import GRID, PAGE, Style, folded, looks, new_figure, styled


@dataclass(frozen=True)
class Budget:
    """An arm's expected best after each number of trials, the default's value, and what every trial came to."""

    arm: str
    trials: tuple[int, ...]
    expected: tuple[float, ...]


def budgets_figure(content: tuple[Budget, ...], axis: str, style: Style = PAGE) -> Figure:
    """Draw the curves over trials on a scale of doublings."""
    look = looks([line.arm for line in content])
    with styled(style):
        figure = new_figure(style, 3.4 + 0.2 * ((len(content) + 1) // 2))
        axes = figure.add_subplot()
        for line in content:
            one = look[line.arm]
            filled = one.colour if one.filled else "none"
            name = folded(line.arm, 40).replace("\n", "")
            axes.plot(
                line.trials, line.expected, one.dash, marker=one.shape, color=one.colour, mfc=filled, lw=1.4, ms=5,
                label=name,
            )  # fmt: skip
        axes.set_xscale("log", base=2)
        ticks = sorted({count for line in content for count in line.trials})
        axes.set_xticks(ticks, list(map(str, ticks)))
        axes.set_xticks([], minor=True)
        axes.set_xlabel("trials")
        axes.set_ylabel(axis)
        axes.grid(color=GRID, lw=0.6)
        axes.set_axisbelow(True)
        if content:
            figure.legend(loc="outside lower center", ncols=2)
    return figure
