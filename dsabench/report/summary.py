"""Paired comparisons as a CSV file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING

from dsabench.files import write_atomic
from dsabench.tables.rows import Row, csv_text

if TYPE_CHECKING:
    from dsabench.stats import Comparison
    from dsabench.stats.weights import ImageComparison

ARMS = ("labels_used", "tuning", "labels_used_against", "tuning_against")


def write_summary(
    comparisons: Iterable[Comparison], path: Path, *, extra: Mapping[str, str], rows: Iterable[Row] = ()
) -> None:
    """Write `summary_text`; raises StorageError where it cannot be written."""
    write_atomic(path, summary_text(comparisons, extra, rows))


def summary_text(comparisons: Iterable[Comparison], extra: Mapping[str, str], rows: Iterable[Row]) -> str:
    """Every field of the comparisons as CSV, after the columns of `extra` (such as `dataset`, `split`).

    The last columns say of both arms, from their `rows`, whether labels were used and how their options were chosen.
    Accuracies are fractions, infinite ends `-inf` and `inf`.
    """
    from dsabench.stats import Comparison

    columns = [field.name for field in fields(Comparison)]
    place = columns.index("key")
    header = [*extra, *columns[:place], "layer", "probe", "probe_params", "metric", *columns[place + 1 :], *ARMS]
    about = {row.spec: (row.labels_used, row.tuning) for row in rows}
    records = []
    for comparison in comparisons:
        cells = [getattr(comparison, column) for column in columns]
        ours, theirs = (about.get(arm, ("", "")) for arm in (comparison.spec, comparison.against))
        records.append([*extra.values(), *cells[:place], *comparison.key, *cells[place + 1 :], *ours, *theirs])
    return csv_text(header, records)


def write_model_summary(comparisons: Iterable[ImageComparison], path: Path, *, extra: Mapping[str, str]) -> None:
    """Write comparisons of single models as CSV, after the columns of `extra`, as `write_summary` does."""
    from dsabench.stats.weights import ImageComparison

    columns = [field.name for field in fields(ImageComparison)]
    place = columns.index("key")
    header = [*extra, *columns[:place], "layer", "probe", "probe_params", "metric", *columns[place + 1 :], "difference"]
    records = []
    for one in comparisons:
        cells = [getattr(one, column) for column in columns]
        records.append([*extra.values(), *cells[:place], *one.key, *cells[place + 1 :], one.difference])
    write_atomic(path, csv_text(header, records))
