"""Single models against each other over test images: tables, and sentences that speak of these weights alone."""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter
from typing import TYPE_CHECKING

from dsabench.report.table import Cell, Column, Difference, Interval, Measure, Number, Section, Table, grouped
from dsabench.report.wording import BETTER, counted, label, short_names, told, unit_of, written

if TYPE_CHECKING:
    from dsabench.stats.weights import ImageComparison

WEIGHTS_ALONE = "This speaks of these weights and not of the method: another seed is another model."


def model_tables(comparisons: Sequence[ImageComparison]) -> list[Table]:
    """A table for each pair of models, a line a metric, with the interval of the difference over test images."""
    return [_table(pair) for pair in grouped(comparisons, attrgetter("spec", "against")).values()]


def _table(pair: Sequence[ImageComparison]) -> Table:
    first = pair[0]
    after, before = short_names(first.spec, first.against)
    columns = (
        Column("metric", "text"),
        Column(before, "number"),
        Column(after, "number"),
        Column("diff.", "difference"),
        Column("95% interval", "interval"),
    )
    sections = tuple(
        Section(tuple(map(_line, group)), heading, emphasised=heading == "primary")
        for heading, group in grouped(pair, lambda one: "primary" if one.primary else "others").items()
    )
    notes = [BETTER, f"interval: over {counted_images(first.n)}, drawn class by class and for both alike; not adjusted"]
    if any(one.low is None for one in pair):
        notes.append("no interval: neither stored answers nor the moments of the classes give that metric")
    return Table(f"{first.spec} against {first.against}: one model each", columns, sections, tuple(notes))


def _line(one: ImageComparison) -> tuple[Cell, ...]:
    key, unit = one.key, unit_of(one.key.metric)
    measure = Measure(label(key.probe, key.params, key.metric), unit, one.higher_is_better)
    return measure, Number(one.value_against, unit), Number(one.value, unit), _difference(one), _interval(one)


def _size(one: ImageComparison) -> float:
    return max(abs(one.value), abs(one.value_against))


def _difference(one: ImageComparison) -> Difference:
    return Difference(one.difference, unit_of(one.key.metric), _size(one))


def _interval(one: ImageComparison) -> Interval | None:
    if one.low is None or one.high is None:
        return None
    return Interval(one.low, one.high, unit_of(one.key.metric), _size(one))


def model_findings(comparisons: Sequence[ImageComparison]) -> str:
    """A sentence a pair on the primary metric, and at the end what none of them says; empty where there is none."""
    sentences = [_sentence(one) for one in comparisons if one.primary]
    return "\n".join([*sentences, WEIGHTS_ALONE]) if sentences else ""


def _sentence(one: ImageComparison) -> str:
    key, unit, interval = one.key, unit_of(one.key.metric), _interval(one)
    metric = label(key.probe, key.params, key.metric) + (f" ({key.layer})" if key.layer != "backbone" else "")
    values = f"{written(Number(one.value_against, unit))}{unit} -> {written(Number(one.value, unit))}{unit}"
    difference = told(_difference(one))
    if interval is None:
        return (
            f"{one.spec} against {one.against} on {metric}: {values}, difference {difference}; no images are at hand."
        )
    facts = f"{values}; 95% interval over {counted_images(one.n)} {told(interval)}"
    if interval.low <= 0 <= interval.high:
        opening = f"{one.spec} against {one.against} on {metric}"
        return f"{opening}: a difference is not shown ({facts}, difference {difference})."
    verb = "lower" if one.difference < 0 else "higher"
    return f"{one.spec} has a {verb} {metric} than {one.against} by {difference.lstrip('+-')} ({facts})."


def counted_images(n: int) -> str:
    """`10,000 test images`."""
    return counted(n, "test image").replace(str(n), f"{n:,}", 1)
