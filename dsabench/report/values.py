"""Tables of values: a table a run, a line a metric."""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter

from dsabench.report.table import Column, Measure, Number, Section, Table, grouped
from dsabench.report.wording import BETTER, label, unit_of
from dsabench.tables.rows import Row

_COLUMNS = (Column("metric", "text"), Column("layer", "text"), Column("value", "number"))


def value_tables(rows: Sequence[Row]) -> list[Table]:
    """Every value of every run: a table a run, one line a metric, with the layer it was measured on."""
    return [_table(run) for run in grouped(rows, attrgetter("run_id")).values()]


def _table(run: Sequence[Row]) -> Table:
    first = run[0]
    lines = []
    for row in run:
        unit = unit_of(row.metric)
        measure = Measure(label(row.probe, row.probe_params, row.metric), unit, row.higher_is_better)
        lines.append((measure, row.layer, None if row.value is None else Number(row.value, unit)))
    title = f"{first.spec} s{first.seed}, run {first.run_id}: {first.dataset}, {first.split} split"
    return Table(title, _COLUMNS, (Section(tuple(lines)),), (f"{first.n} images; {BETTER}",))
