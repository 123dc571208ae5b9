"""Tables of values: a line a metric, a column a model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from operator import attrgetter

from dsabench.report.table import Cell, Column, Measure, Number, Section, Table, grouped
from dsabench.report.wording import BETTER, label, unit_of
from dsabench.tables.rows import Row

# The backbone of what has none: embeddings, whose images nobody has seen here.
_EMBEDDINGS = "embeddings"


def value_tables(rows: Sequence[Row]) -> list[Table]:
    """Every value of every run: a table for each data set and split, a line a metric and layer, a column a run."""
    return [
        _table(list(grouped(place, attrgetter("run_id")).values()))
        for place in grouped(rows, attrgetter("dataset", "dataset_sha256", "split")).values()
    ]


def _table(runs: Sequence[Sequence[Row]]) -> Table:
    first, heads = runs[0][0], _heads([run[0] for run in runs])
    lines: dict[tuple[str, str, str, str], tuple[Measure, dict[str, Row]]] = {}
    for row in (row for run in runs for row in run):
        measure = Measure(label(row.probe, row.probe_params, row.metric), unit_of(row.metric), row.higher_is_better)
        key = (row.layer, row.probe, row.probe_params, row.metric)
        lines.setdefault(key, (measure, {}))[1][row.run_id] = row
    columns = [Column("metric", "text"), Column("layer", "text")]
    of = _EMBEDDINGS if all(run[0].backbone == _EMBEDDINGS for run in runs) else "images"
    notes = [f"{first.n:,} {of}; {BETTER}" if first.n is not None else BETTER]
    title = f"{first.dataset}, {first.split} split"
    if len(runs) == 1:
        title = f"{first.spec} s{first.seed}, run {first.run_id}: {title}"
        columns.append(Column("value", "number"))
    else:
        columns += [Column(head, "number") for head in heads.values()]
        notes.append(", ".join(f"{head}: run {run_id}" for run_id, head in heads.items() if run_id not in head))
    cells = tuple(
        (measure, key[0], *(_value(values.get(run_id)) for run_id in heads)) for key, (measure, values) in lines.items()
    )
    return Table(title, tuple(columns), (Section(cells),), tuple(filter(None, notes)))


def _heads(firsts: Sequence[Row]) -> Mapping[str, str]:
    """What tells each run from the others, by its id: its spec, with its seed, or both with the id."""
    names = [{row.run_id: row.spec for row in firsts}, {row.run_id: f"{row.spec} s{row.seed}" for row in firsts}]
    whole = {row.run_id: f"{row.spec} s{row.seed} {row.run_id}" for row in firsts}
    return next((found for found in names if max(Counter(found.values()).values()) == 1), whole)


def _value(row: Row | None) -> Cell:
    return None if row is None or row.value is None else Number(row.value, unit_of(row.metric))
