"""Learning curves: one logged value of several arms, against epochs and against seconds."""

from __future__ import annotations

from dataclasses import dataclass

from matplotlib.figure import Figure

from dsabench.report.figures.drawing import GRID, PAGE, Style, folded, looks, new_figure, styled


@dataclass(frozen=True)
class Curve:
    """An arm's mean over seeds at each `epoch`, with the least and the most of them, and the mean time until then."""

    spec: str
    epochs: tuple[float, ...]
    seconds: tuple[float, ...]
    mean: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]


@dataclass(frozen=True)
class Curves:
    """The curves of one column of the log."""

    name: str
    lines: tuple[Curve, ...]


def curves(content: Curves, style: Style = PAGE) -> Figure:
    """Draw the curves twice, side by side on one scale; the band is the range over seeds."""
    look = looks([line.spec for line in content.lines])
    with styled(style):
        figure = new_figure(style, 2.7 + 0.2 * ((len(content.lines) + 1) // 2))
        left, right = figure.subplots(1, 2, sharey=True)
        for axes, label in ((left, "epoch"), (right, "seconds")):
            for line in content.lines:
                x = line.epochs if label == "epoch" else line.seconds
                one = look[line.spec]
                axes.fill_between(x, line.low, line.high, color=one.colour, alpha=0.18, lw=0)
                name = folded(line.spec, 40).replace("\n", "") if axes is left else "_"
                axes.plot(x, line.mean, one.dash, color=one.colour, lw=1.6, label=name)
            axes.set_xlabel(label)
            axes.grid(color=GRID, lw=0.6)
            axes.set_axisbelow(True)
        left.set_title(content.name, loc="left")
        if len(content.lines):
            figure.legend(loc="outside lower center", ncols=2)
    return figure
