"""The sections that need the rows alone: results, paired differences, cost."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from statistics import fmean, median, stdev

from dsabench.report.differences import paired_tables
from dsabench.report.figures.costs import Cost, costs
from dsabench.report.figures.drawing import method_of
from dsabench.report.figures.forest import Forest, ForestLine, forest
from dsabench.report.overview import overview_tables
from dsabench.report.page.blocks import Absent, Block, Drawing, Fold, Grid, Section
from dsabench.report.page.material import Material
from dsabench.report.page.student import student
from dsabench.report.table import Arm, Cell, Column, Mean, Number, Remark, Table
from dsabench.report.table import Section as Lines
from dsabench.report.wording import amount, label, unit_of
from dsabench.stats import Comparison, MetricKey

FLOORS = ("random",)
_CEILING = "supervised"


def results(material: Material) -> Section:
    """Every arm's headline values, a table a data set, split and layer."""
    layers = list(dict.fromkeys(row.layer for row in material.rows if row.layer)) or [material.layer]
    blocks: list[Block] = []
    for layer in layers:
        tables = overview_tables(material.rows, layer=layer)
        blocks += [Grid(marked(table, layer), filtered=True) for table in tables]
    return Section(f"{material.name}-results", "Results", tuple(blocks))


def marked(table: Table, layer: str) -> Table:
    """A table of runs with its floors and its ceiling marked as such."""

    def line(cells: tuple[Cell, ...]) -> tuple[Cell, ...]:
        arm = cells[0]
        if not isinstance(arm, Arm):
            return cells
        word = {_CEILING: "ceiling: trained with labels", **dict.fromkeys(FLOORS, "floor: untrained")}.get(arm.spec)
        if layer == "pixels":
            word = "floor: raw pixels"
        return cells if word is None else (replace(arm, remarks=(Remark(word, "aside"), *arm.remarks)), *cells[1:])

    sections = tuple(replace(part, rows=tuple(map(line, part.rows))) for part in table.sections)
    found = [interval for part in sections for row in part.rows for cell in row if (interval := student(cell))]
    if not found:
        return replace(table, sections=sections)
    cut = ", cut off at 0 and 100%" if any(one.cut for one in found) else ""
    return replace(table, sections=sections, notes=(*table.notes, f"small: Student's 95% interval over seeds{cut}"))


def differences(material: Material) -> Section:
    """Forest plots of the primary metric and the guards, and every paired table."""
    name, title = f"{material.name}-differences", "Paired differences"
    if material.obstacle:
        return Section(name, title, (Absent(f"{material.obstacle}; a comparison needs two arms with one seed."),))
    blocks: list[Block] = []
    others = [pair for pair in material.pairs if pair not in material.own_pairs]
    groups = [("own", "each against its own plain method", material.own_pairs)]
    if others:
        groups.append(("all", f"each against {material.names[others[0][1]]}" if material.own_pairs else "", others))
    for group, words, pairs in groups:
        if pairs:
            blocks += forests(material, f"{name}-{group}", words, pairs)
    tables = paired_tables(material.comparisons)
    grids = tuple(Grid(table) for table in tables)
    blocks += grids if len(grids) == 1 else [Fold(f"All {len(grids)} paired tables", grids)]
    return Section(name, title, tuple(blocks))


def forests(material: Material, name: str, words: str, pairs: Sequence[tuple[str, str]]) -> list[Block]:
    """The forest plot of the primary metric, relative to the baseline, and of each guard, in its own units."""
    found = {(one.spec, one.against, one.key): one for one in material.comparisons}
    drawings: list[Block] = []
    wanted: list[tuple[MetricKey | None, float | None]] = [(material.primary_key, None)]
    for guard in material.criteria.guards:
        wanted.append((guard.choice.among(material.directions, material.layer), guard.margin))
    for key, margin in wanted:
        if key is None:
            continue
        known = [found[(*pair, key)] for pair in pairs if (*pair, key) in found]
        if not known:
            continue
        content = forest_of(material, key, known, margin)
        role = "primary metric" if margin is None else "guard"
        measured = label(key.probe, key.params, key.metric)
        drawings.append(
            Drawing(
                f"{name}-{key.metric if margin is None else key.probe}",
                partial(forest, content),
                f"Forest plot of paired differences in {measured} ({role}{', ' + words if words else ''}): "
                + "; ".join(_said(line) for line in content.lines)
                + ".",
                f"{measured}, {role}{', ' + words if words else ''}. Dots are seeds, the diamond their mean (filled "
                "where the verdict is better or "
                "the guard held), the line the exact 95% interval.",
            )
        )
    return drawings


def _said(line: ForestLine) -> str:
    if line.mean is None:
        return f"{line.label}: no seed has both values"
    ends = f"{line.low:+.3g} to {line.high:+.3g}" if math.isfinite(line.low + line.high) else "not bounded"
    return f"{line.label}: {line.mean:+.3g} (95% interval {ends}){', ' + line.word if line.word else ''}"


def forest_of(material: Material, key: MetricKey, known: Sequence[Comparison], margin: float | None) -> Forest:
    """The values of a forest plot; without a `margin` differences are in per cent of the baseline's mean."""
    baselines = {one.against for one in known}
    held = guarded(material, key)
    lines = []
    for one in known:
        ours, theirs = (material.values.get(arm, {}).get(key, {}) for arm in (one.spec, one.against))
        scale = 100.0 if unit_of(key.metric) else 1.0
        if margin is None:
            scale = 100.0 / abs(one.mean_against) if one.mean_against else math.nan
        seeds = tuple(scale * (ours[seed] - theirs[seed]) for seed in sorted(ours.keys() & theirs.keys()))
        mean = scale * one.difference if seeds and math.isfinite(scale * one.difference) else None
        own = len(baselines) == 1 or method_of(one.spec) == method_of(one.against)
        spec, against = (material.names[arm] for arm in (one.spec, one.against))
        name = spec if own else f"{spec} against {against}"
        low, high = (scale * end if math.isfinite(end) else end for end in (one.low, one.high))
        lines.append(
            ForestLine(name, seeds, mean, low, high, one.verdict if margin is None else held[one.spec, one.against])
        )
    measured = label(key.probe, key.params, key.metric)
    higher = bool(material.directions[key])
    if margin is None:
        effect = 100 * material.criteria.smallest_effect
        axis = f"difference in {measured}, % of the baseline's mean"
        text = f"less than matters: {amount(material.criteria.smallest_effect, '%')}%"
        return Forest(axis, tuple(lines), higher, (-effect, effect), text)
    unit = unit_of(key.metric)
    scale = 100.0 if unit else 1.0
    band = (-scale * margin, 0.0) if higher else (0.0, scale * margin)
    axis = f"difference in {measured}{', points' if unit else ''}"
    return Forest(axis, tuple(lines), higher, band, f"margin: {amount(margin, unit)}")


def guarded(material: Material, key: MetricKey) -> dict[tuple[str, str], str]:
    """What became of the guard on a metric, in a word for every pair."""
    words = {True: "held", False: "may have fallen", None: "not measured on enough seeds"}
    guards = material.criteria.guards
    which = next((g for g in guards if g.choice.among(material.directions, material.layer) == key), None)
    return {
        (one.spec, one.against): next((words[g.held] for g in one.guards if which and g.name == str(which.choice)), "")
        for one in material.comparisons
        if one.role == "primary"
    }


_COSTS = (
    ("wall_s", "seconds a run", 1.0),
    ("images_per_s", "images a second", 1.0),
    ("peak_mem_mb", "peak memory, MB", 1.0),
)


def cost(material: Material) -> Section:
    """What training took: time, throughput and memory of each arm."""
    name, title = f"{material.name}-cost", "Cost"
    runs = {row.run_id: row for row in material.rows if row.status != "failed"}
    content = []
    for column, axis, _ in _COSTS:
        taken = [
            (
                material.names[spec],
                tuple(v for row in runs.values() if row.spec == spec and (v := getattr(row, column)) is not None),
            )
            for spec in material.specs
        ]
        if any(values for _, values in taken):
            content.append(Cost(axis, tuple(taken)))
    if not content:
        return Section(name, title, (Absent("these rows say nothing of time or memory."),))
    told = "; ".join(f"{spec} {median(values):.4g} {content[0].axis}" for spec, values in content[0].runs if values)
    drawing = Drawing(
        name,
        partial(costs, content),
        f"Cost of training by arm: {told}.",
        "Dots are runs, bars their median. Runs side by side on one machine slow each other, and other hours are other "
        "conditions: the ratio of two arms that ran together is what counts.",
    )
    return Section(name, title, (drawing, Grid(_cost_table(material, content), filtered=True)))


def _cost_table(material: Material, content: Sequence[Cost]) -> Table:
    baseline = dict(reversed(material.pairs))
    columns = (
        Column("spec", "text"),
        *(Column(cost.axis, "mean") for cost in content),
        Column("times its baseline", "number"),
        Column("baseline", "text"),
    )
    lines = []
    for place, spec in enumerate(material.specs):
        cells: list[Cell] = [Arm(spec)]
        for cost in content:
            values = cost.runs[place][1]
            spread = stdev(values) if len(values) > 1 else None
            cells.append(Mean(fmean(values), spread, len(values)) if values else None)
        own = dict(material.own_pairs).get(spec, baseline.get(spec))
        ratio = material.ratios.get((spec, own)) if own else None
        lines.append((*cells, Number(ratio) if ratio else None, material.names[own] if own and ratio else None))
    note = "mean±standard deviation over runs; ratios of medians, of runs from different hours; energy was not measured"
    return Table("What a run takes", columns, (Lines(tuple(lines)),), (note,))
