"""The section of crowding against accuracy: every arm a point, and what the trials of a search reach."""

from __future__ import annotations

from functools import partial
from statistics import fmean, stdev

from dsabench.report.figures.budgets import Budget, budgets_figure
from dsabench.report.figures.fronts import Trials, fronts
from dsabench.report.figures.tradeoff import Point, Tradeoff, tradeoff
from dsabench.report.page.blocks import Absent, Block, Drawing, Section
from dsabench.report.page.material import Material
from dsabench.report.page.measured import FLOORS
from dsabench.report.wording import label
from dsabench.stats import MetricKey
from dsabench.tables.criteria import parse_guard

# What the accuracy axis shows where no guard was measured.
_ACCURACY = "knn"


def crowding(material: Material) -> Section:
    """Every arm a point, and what a search of each arm reaches."""
    name, title = f"{material.name}-crowding", "Crowding against accuracy"
    x = next((key for key in material.directions if key.metric == "cdnv" and key.layer == material.layer), None)
    choices = [*(guard.choice for guard in material.criteria.guards), parse_guard(_ACCURACY).choice]
    y = next((key for one in choices if (key := one.among(material.directions, material.layer))), None)
    blocks: list[Block] = []
    if x is None or y is None:
        missing = "CDNV" if x is None else "an accuracy"
        blocks.append(Absent(f"{missing} was not measured.", "dsabench compare … --probe crowding --probe knn"))
    else:
        content = tradeoff_of(material, x, y)
        told, far = (
            ", ".join(f"{one.spec} ({one.x:.3g}, {one.y:.1f}%)" for one in points)
            for points in (content.points, content.outside)
        )
        blocks.append(
            Drawing(
                name,
                partial(tradeoff, content),
                f"Scatter plot of {content.x_axis} against {content.y_axis}, a point an arm: {told}.",
                "Each point is an arm's mean, its cross one standard deviation over seeds. Hollow: plain; filled: "
                "regularized; arrows lead from a plain method to its regularized arms."
                + (" A ring: options chosen by search." if any(point.tuned for point in content.points) else "")
                + (f" Outside of the view: {far}." if far else ""),
            )
        )
    blocks += searched(material, name)
    return Section(name, title, tuple(blocks))


def searched(material: Material, name: str) -> list[Block]:
    """What a search of each arm reaches: the front of its trials where their crowding was measured, and its budget."""
    if not material.searches:
        return [Absent("what each arm can reach needs the trials of a search.", "dsabench tune SPEC SPEC …")]
    blocks: list[Block] = []
    arms = tuple(
        Trials(one.arm, tuple((x, 100 * y) for x, y in one.points())) for one in material.searches if one.points()
    )
    if arms:
        told = "; ".join(f"{one.arm} {', '.join(f'({x:.3g}, {y:.1f}%)' for x, y in one.front)}" for one in arms)
        blocks.append(
            Drawing(
                f"{name}-front",
                partial(fronts, arms, "CDNV, validation (less is less crowded)", "selection score, validation, %"),
                f"The trials of every arm by CDNV and selection score; no other of the arm surpasses: {told}.",
                "Every point is a trial, the line joins those of an arm that no other of its trials beats in both. "
                "Trials were selected by the score alone.",
            )
        )
    lines = tuple(
        Budget(one.arm, tuple(expected), tuple(100 * value for value in expected.values()))
        for one in material.searches
        for expected in [one.expected()]
    )
    told = "; ".join(f"{line.arm} {line.expected[-1]:.1f}% after {line.trials[-1]}" for line in lines)
    blocks.append(
        Drawing(
            f"{name}-budget",
            partial(budgets_figure, lines, "expected best, validation, %"),
            f"The best selection score to be expected after so many trials, arm by arm: {told}.",
            "What each arm can reach with a budget of search: the expected maximum of so many of its trials on "
            "validation (arXiv 1909.03004).",
        )
    )
    return blocks


def tradeoff_of(material: Material, x: MetricKey, y: MetricKey) -> Tradeoff:
    """The points of the arms that have both values, accuracies in per cent."""
    points = []
    tuned = {row.spec for row in material.rows if row.tuning not in ("", "defaults", "by hand")}
    # A ring sets arms apart; around all of them it would say nothing that the page does not say already.
    tuned = tuned if tuned < {*material.specs} else set()
    for spec in material.specs:
        across, up = (list(material.values.get(spec, {}).get(key, {}).values()) for key in (x, y))
        if across and up:
            spreads = [stdev(found) if len(found) > 1 else 0.0 for found in (across, up)]
            points.append(
                Point(
                    material.names[spec],
                    fmean(across),
                    spreads[0],
                    100 * fmean(up),
                    100 * spreads[1],
                    tuned=spec in tuned,
                )
            )
    there = {point.spec for point in points}
    named = [(material.names[against], material.names[spec]) for spec, against in material.own_pairs]
    arrows = tuple(pair for pair in named if there >= set(pair))
    axes = [label(key.probe, key.params, key.metric) for key in (x, y)]
    inside = tuple(point for point in points if point.spec not in FLOORS)
    outside = tuple(point for point in points if point.spec in FLOORS)
    return Tradeoff(
        f"{axes[0]} (less is less crowded)", f"{axes[1]}, %", inside, arrows, "↖ better", highest=100.0, outside=outside
    )
