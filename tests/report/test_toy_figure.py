"""The toy figure: what it shows of made data, and that it is the same bytes each time."""

import numpy as np
import pytest
from matplotlib.patches import Ellipse

from dsabench.report.toy_figure import Panel, drawn, ellipse, toy_figure


def panel(title: str) -> Panel:
    draw = np.random.default_rng(0)
    y = np.arange(90) % 3
    x = np.array([[0.0, 0.0], [5.0, 0.0], [0.0, 5.0]])[y] + draw.normal(size=(90, 2)) * [1.0, 0.2]
    return Panel(title, x, y, ("CDNV 0.1", "5-NN 99%"))


def test_it_shows_points_means_and_ellipses_of_every_class() -> None:
    figure = toy_figure([panel("simclr"), panel("simclr+dsa")], ["a", "b", "c"], "digits")
    assert [axes.get_title() for axes in figure.axes] == ["simclr", "simclr+dsa"]
    assert figure.axes[0].get_xlabel() == "CDNV 0.1\n5-NN 99%"
    patches = [patch for patch in figure.axes[0].patches if isinstance(patch, Ellipse)]
    x, y = panel("").x, panel("").y
    for label, patch in enumerate(patches):
        assert patch.center == pytest.approx(tuple(x[y == label].mean(axis=0)))
    assert len(patches) == 3
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["a", "b", "c"]


def test_an_ellipse_lies_along_its_class() -> None:
    draw = np.random.default_rng(1)
    turned = draw.normal(size=(20_000, 2)) * [3.0, 0.5] @ np.array([[1, 1], [-1, 1]]) / 2**0.5
    patch = ellipse(turned, "k")
    sizes = sorted([patch.width, patch.height])
    assert sizes == pytest.approx([4 * 0.5, 4 * 3.0], rel=0.03)
    along = patch.angle + (0 if patch.width > patch.height else 90)
    assert along % 180 == pytest.approx(45, abs=1)
    assert ellipse(np.ones((4, 2)), "k").width == 0


def test_the_same_figure_is_the_same_bytes() -> None:
    for kind in ("svg", "png"):
        first, second = (drawn(toy_figure([panel("simclr")], ["a", "b", "c"], "digits"), kind) for _ in range(2))
        assert first == second
