"""The tables of results/research.md: runs under development, and what graphs of neighbours tell without labels."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from operator import attrgetter

from benchmarks.committed import committed, named, plain_table, tables
from dsabench.report.overview import mean_of
from dsabench.report.table import Cell, Column, Mean, Table, grouped
from dsabench.tables.comparisons import key_of

# The metrics by their names in tables, each with the head of its column here.
METRICS: Mapping[str, Column] = {
    "CDNV": Column("CDNV", "mean"),
    "directional CDNV": Column("directional CDNV", "mean"),
    "1-shot (centroid)": Column("1 label", "mean", "%"),
    "5-shot (centroid)": Column("5 labels", "mean", "%"),
    "kNN (k=20)": Column("kNN", "mean", "%"),
    "linear": Column("linear", "mean", "%"),
}
PAIRS = Column("same class among the pairs of a batch", "mean", "%")
# What has a column where the runs of a table differ in it.
CONDITIONS: Mapping[str, Column] = {
    "dataset": Column("data", "text"),
    "split": Column("split", "text"),
    "backbone": Column("backbone", "text"),
    "train_images": Column("training images", "count"),
    "epochs": Column("epochs", "count"),
    "batch_size": Column("batch", "count"),
}


def development(name: str, specs: Sequence[str] | None = None) -> Table:
    """A line for each spec of the table of rows `results/NAME.csv`, in its order: means over seeds on the backbone.

    `specs` are those to show, all if None. What the runs differ in beside the spec has a column of its own and parts
    the lines; a metric that the table does not have has none.
    """
    rows = [row for row in committed(name).rows if specs is None or row.spec in specs]
    conditions = [one for one in CONDITIONS if len({getattr(row, one) for row in rows}) > 1]
    measured = [row for row in rows if row.layer == "backbone" and row.value is not None]
    found = {named(key_of(row)) for row in measured}
    metrics = [metric for metric in METRICS if metric in found]
    paired = any(row.similar_precision is not None for row in measured)
    lines: list[list[Cell]] = []
    for line in grouped(measured, attrgetter(*conditions, "spec")).values():
        values = grouped(line, lambda row: named(key_of(row)))
        means = (mean([row.value for row in values.get(metric, ())], METRICS[metric].unit) for metric in metrics)
        pairs = {row.run_id: row.similar_precision for row in line}
        own = (getattr(line[0], one) for one in conditions)
        lines.append([line[0].spec, *own, len({row.seed for row in line}), *means])
        lines[-1] += [mean([*pairs.values()], PAIRS.unit)] * paired
    heads = [Column("spec", "text"), *map(CONDITIONS.__getitem__, conditions), Column("n", "count")]
    return plain_table([*heads, *map(METRICS.__getitem__, metrics), *[PAIRS] * paired], lines)


def mean(values: Sequence[float | None], unit: str) -> Mean | None:
    """Mean and deviation of the values that there are; None where there is none."""
    known = [value for value in values if value is not None]
    return mean_of(known, unit) if known else None


TABLES: Mapping[str, Callable[[], Table]] = {
    **{name: partial(development, name) for name in tables() if name.startswith("research-")},
}
