"""Figures by what they say: points, labels, order; never by pixels."""

import math
import re
from pathlib import Path

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dsabench.report.figures import drawing
from dsabench.report.figures.budgets import Budget, budgets_figure
from dsabench.report.figures.costs import Cost, costs
from dsabench.report.figures.drawing import STYLES, inline, looks, save, svg
from dsabench.report.figures.forest import Forest, ForestLine, forest
from dsabench.report.figures.fronts import Trials, fronts
from dsabench.report.figures.labels import Box, beside
from dsabench.report.figures.learning import Curve, Curves, curves
from dsabench.report.figures.matrices import Matrix, matrix
from dsabench.report.figures.pictures import Shot, pictures
from dsabench.report.figures.planes import Plane, planes
from dsabench.report.figures.tradeoff import Point, Tradeoff, tradeoff

FOREST = Forest(
    "difference, %",
    (
        ForestLine("simclr+dsa", (-40.0, -44.0, -48.0), -44.0, -50.0, -38.0, "better"),
        ForestLine("byol+dsa", (1.0,), 1.0, -math.inf, math.inf, "not shown"),
        ForestLine("vicreg+dsa", (), None, -math.inf, -math.inf, "too few"),
    ),
    higher_is_better=False,
    band=(-5.0, 5.0),
    band_label="less than matters: 5%",
)


def axes_of(figure: Figure, place: int = 0) -> Axes:
    return figure.axes[place]


def dots(axes: Axes, marker: str) -> list[list[tuple[float, float]]]:
    lines = [line for line in axes.lines if line.get_marker() == marker]
    return [[(float(x), float(y)) for x, y in zip(*line.get_data(), strict=True)] for line in lines]


def test_a_forest_plot_holds_every_seed_mean_and_interval_from_top_to_bottom() -> None:
    axes = axes_of(forest(FOREST))
    assert [label.get_text() for label in axes.get_yticklabels()] == ["simclr+dsa", "byol+dsa", "vicreg+dsa"]
    bottom, top = axes.get_ylim()
    assert bottom > top
    places = [float(tick) for tick in axes.get_yticks()]
    assert dots(axes, "D") == [[(-44.0, places[0])], [(1.0, places[1])]]
    assert dots(axes, "o") == [[(x, places[0]) for x in (-40.0, -44.0, -48.0)], [(1.0, places[1])]]
    # The first interval has two ends, the second none: an arrow at either edge.
    assert next(line.get_xdata()[0] for line in axes.lines if line.get_linewidth() == 1.6) == -50.0
    assert len(dots(axes, "<")) == len(dots(axes, ">")) == 1
    words = [text.get_text() for text in axes.texts]
    assert {"better", "not shown", "too few", "no seed has both values"} <= set(words)
    assert axes.get_title(loc="left") == "← better"


def test_the_band_is_what_does_not_matter() -> None:
    axes = axes_of(forest(FOREST))
    assert [(patch.get_x(), patch.get_x() + patch.get_width()) for patch in axes.patches] == [(-5.0, 5.0)]  # type: ignore[attr-defined]


def test_a_point_an_arm_and_an_arrow_a_pair() -> None:
    points = (Point("simclr", 0.24, 0.01, 98.0, 0.4), Point("simclr+dsa", 0.13, 0.01, 99.0, 0.3, tuned=True))
    axes = axes_of(tradeoff(Tradeoff("CDNV", "kNN, %", points, (("simclr", "simclr+dsa"),))))
    marks = {line.get_label(): line for line in axes.lines if line.get_label() in ("simclr", "simclr+dsa")}
    assert [(float(marks[p.spec].get_xdata()[0]), float(marks[p.spec].get_ydata()[0])) for p in points] == [
        (0.24, 98.0),
        (0.13, 99.0),
    ]
    # Hollow is plain, filled regularized, one colour and shape a method.
    assert marks["simclr"].get_markerfacecolor() == "none" != marks["simclr+dsa"].get_markerfacecolor()
    assert marks["simclr"].get_marker() == marks["simclr+dsa"].get_marker()
    arrows = [text for text in axes.texts if getattr(text, "arrow_patch", None) is not None]
    assert [(text.xyann, text.xy) for text in arrows] == [((0.24, 98.0), (0.13, 99.0))]  # type: ignore[attr-defined]
    rings = [line for line in axes.lines if line.get_markersize() == 12]
    assert [float(ring.get_xdata()[0]) for ring in rings] == [0.13]


def test_no_cross_reaches_above_what_an_accuracy_can_be() -> None:
    points = (Point("simclr", 0.24, 0.01, 99.5, 2.0), Point("byol", 0.13, 0.01, 90.0, 1.0))
    axes = axes_of(tradeoff(Tradeoff("CDNV", "kNN, %", points, highest=100.0)))
    ends = sorted(
        float(y)
        for bars in axes.collections
        for path in bars.get_paths()
        for x, y in path.vertices  # type: ignore[union-attr]
        if len({float(x) for x, _ in path.vertices}) == 1  # type: ignore[union-attr]
    )
    assert ends == [89.0, 91.0, 97.5, 100.0]


def test_labels_lie_neither_on_each_other_nor_outside() -> None:
    points = [(100.0 + 3 * place, 100.0 + place) for place in range(8)]
    boxes = beside([f"arm {place}" for place in range(8)], points, 10.0, Box(0, 0, 400, 300))
    assert all(a.overlap(b) == 0 for place, a in enumerate(boxes) for b in boxes[:place])
    assert all(box.left >= 0 and box.bottom >= 0 and box.right <= 400 and box.top <= 300 for box in boxes)


def test_curves_stand_against_epochs_and_against_seconds() -> None:
    line = Curve("simclr", (1.0, 2.0), (10.0, 30.0), (5.0, 4.0), (4.9, 3.9), (5.1, 4.1))
    figure = curves(Curves("loss", (line,)))
    assert [axes.get_xlabel() for axes in figure.axes] == ["epoch", "seconds"]
    assert [list(axes.lines[0].get_xdata()) for axes in figure.axes] == [[1.0, 2.0], [10.0, 30.0]]
    assert list(axes_of(figure).lines[0].get_ydata()) == [5.0, 4.0]


def test_a_matrix_shows_its_numbers_and_leaves_out_what_is_nan() -> None:
    values = ((math.nan, 0.25), (1.5, math.nan))
    axes = axes_of(matrix(Matrix("CDNV", ("cat", "dog"), values, "class", "class")))
    assert [text.get_text() for text in axes.texts] == [".25", "1.50"]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["cat", "dog"]
    many = Matrix("CDNV", tuple(map(str, range(50))), ((0.0,) * 50,) * 50, "class", "class", signed=True)
    assert not axes_of(matrix(many)).texts


def test_planes_draw_every_image_in_its_class() -> None:
    points, y = np.arange(12.0).reshape(6, 2), np.array([0, 1, 0, 1, 0, 0])
    figure = planes((Plane("simclr", points, y), Plane("simclr+dsa", -points, y)), ("cat", "dog"))
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["simclr", "simclr+dsa"]
    for axes, sign in zip(figure.axes, (1, -1), strict=True):
        assert [line.get_label() for line in axes.lines] == ["cat", "dog"]
        np.testing.assert_array_equal(axes.lines[0].get_xydata(), sign * points[y == 0])
    assert {text.get_text() for text in axes.texts} == {"cat", "dog"}


def test_wrong_pictures_have_a_broken_frame_and_say_so() -> None:
    grey, colour = np.zeros((8, 8)), np.zeros((200, 200, 3))
    figure = pictures(
        [("wrong: two classes", [Shot(grey, "3 (wrong)", False), Shot(colour, "8", True), Shot(grey, "?")])]
    )
    first, second, third = (axes for axes in figure.get_axes() if axes.get_xlabel())
    assert [axes.get_xlabel() for axes in (first, second, third)] == ["3 (wrong)", "8", "?"]
    assert (first.spines["left"].get_linestyle(), second.spines["left"].get_linestyle()) == ("--", "-")
    # A large image is not larger than it is shown.
    assert second.images[0].get_array().shape == (67, 67, 3)  # type: ignore[union-attr]


def test_costs_and_budgets_show_every_arm() -> None:
    figure = costs([Cost("seconds", (("simclr", (61.0, 60.0, 62.0)), ("random", ())))])
    axes = axes_of(figure)
    assert [label.get_text() for label in axes.get_yticklabels()] == ["simclr", "random"]
    assert [patch.get_width() for patch in axes.patches] == [61.0]  # type: ignore[attr-defined]
    axes = axes_of(budgets_figure((Budget("simclr", (1, 2, 4), (90.0, 92.0, 93.0)),), "best, %"))
    assert list(axes.lines[0].get_ydata()) == [90.0, 92.0, 93.0]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["1", "2", "4"]


def test_no_two_methods_look_alike_and_arms_of_one_do() -> None:
    specs = [f"{name}{end}" for name in map("m{}".format, range(17)) for end in ("", "+dsa", "+dsa-minimal[k=1e+3]")]
    found = looks(specs)
    assert len({(look.colour, look.shape) for look in found.values()}) == 17
    assert {look.dash for spec, look in found.items() if spec.startswith("m3")} == {"-", "--", ":"}
    assert not looks(["m[lr=1e+3]"])["m[lr=1e+3]"].filled


def test_one_figure_is_one_text_without_a_date() -> None:
    assert svg(forest(FOREST)) == svg(forest(FOREST))
    assert "<dc:date>" not in svg(forest(FOREST))


@pytest.mark.parametrize("style", ["paper", "slides"])
def test_figures_for_papers_are_svg_and_pdf(tmp_path: Path, style: str) -> None:
    files = save(forest(FOREST, STYLES[style]), tmp_path / "a.b", STYLES[style])
    assert [file.name for file in files] == ["a.b.svg", "a.b.pdf"]
    assert files[1].read_bytes().startswith(b"%PDF")
    # Fonts are outlines there: it looks the same everywhere.
    assert "<text" not in files[0].read_text(encoding="utf-8")


def test_inside_a_page_a_figure_has_its_own_ids_the_pages_colours_and_a_description() -> None:
    text = inline(forest(FOREST), "primary", 'shows "a" < b')
    ids = re.findall(r'\bid="([^"]+)"', text)
    assert ids
    assert all(one.startswith("primary-") for one in ids)
    used = re.findall(r'(?:xlink:href="|url\()#([^")]+)', text)
    assert set(used) <= set(ids)
    assert 'aria-label="shows &quot;a&quot; &lt; b"' in text
    assert not [colour for colour in drawing.VARIABLES if colour in text]
    assert "simclr+dsa" in text


@pytest.mark.parametrize("name", ["<script>alert(1)</script>", "$x^2$ & _", "a" * 200, "日本\x1b[31m"])
def test_names_stay_text(name: str) -> None:
    text = inline(forest(Forest("x", (ForestLine(name, (1.0,), 1.0, 0.0, 2.0, name),), True)), "f", name)
    assert "<script" not in text
    assert "\x1b" not in text
    assert "…" in text or len(name) < 60


def test_labels_keep_off_lines_where_there_is_room() -> None:
    way = ((100.0, 150.0), (300.0, 150.0))
    free, kept = (beside(["an arm"], [way[0]], 10.0, Box(0, 0, 400, 300), lines)[0] for lines in ((), [way]))
    crossed = Box(100, 149, 300, 151)
    assert free.overlap(crossed) > 0
    assert kept.overlap(crossed) == 0


def test_a_front_is_what_no_other_trial_beats_in_both() -> None:
    points = ((0.3, 90.0), (0.2, 80.0), (0.25, 70.0), (0.3, 85.0), (0.4, 90.0), (0.2, 79.0))
    arm, plain = Trials("simclr+dsa", points), Trials("simclr", ((0.5, 50.0),))
    assert arm.front == ((0.2, 80.0), (0.3, 90.0))
    lines = axes_of(fronts((plain, arm), "CDNV", "kNN, %")).get_lines()
    drawn = {
        str(line.get_label()): line.get_xydata().tolist() for line in lines if not str(line.get_label()).startswith("_")
    }
    assert drawn == {"simclr": [[0.5, 50.0]], "simclr+dsa": [[0.2, 80.0], [0.3, 90.0]]}
    # The other four are there too.
    assert len(lines) == len(drawn) + 4
