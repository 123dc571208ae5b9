"""Tables with pictures: the arms of a comparison at a glance, and the log of one run."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from operator import attrgetter
from statistics import fmean

from dsabench.metrics import METRICS
from dsabench.probes import PROBES
from dsabench.report.table import Arm, Bar, Cell, Column, Curve, Number, Section, Table, grouped
from dsabench.report.wording import label, unit_of
from dsabench.tables.rows import Row

# A run's log by column, a value an epoch, nan where there is none.
Log = Mapping[str, Sequence[float]]

# What the log has beside the loss, its terms and what is said of them.
_CLOCKS = frozenset({"epoch", "lr", "wall_s", "images_per_s"})


def tracked(name: str) -> bool:
    """Whether a column of the log is a metric or a probe, measured now and then."""
    return name.partition("[")[0] in {*METRICS, *PROBES}


def onset(log: Log) -> tuple[str, int] | None:
    """The column that is 0 at first and joins the loss later, with its place; None where there is none."""
    for name, values in log.items():
        begins = next((place for place, value in enumerate(values) if value > 0), 0)
        if begins and name not in _CLOCKS and not tracked(name) and not any(values[:begins]):
            return name, begins
    return None


def chart_table(like: Row, rows: Sequence[Row], logs: Mapping[str, Sequence[Log]]) -> Table:
    """The metric of `like` with a bar, and the curves of loss and tracked metrics: a line a spec, means over its runs.

    `logs` holds the logs of the runs of a spec, where they are at hand. The curves of a column share one scale.
    """
    same = attrgetter("dataset", "split", "layer", "probe", "probe_params", "metric")
    values = {
        spec: fmean(row.value for row in found if row.value is not None)
        for spec, found in grouped(
            (row for row in rows if row.value is not None and same(row) == same(like)), attrgetter("spec")
        ).items()
    }
    mean_logs = {spec: _mean_log(logs.get(spec, ())) for spec in values}
    names = [name for name in dict.fromkeys(name for log in mean_logs.values() for name in log) if _drawn(name)]
    longest = max((abs(value) for value in values.values()), default=0.0)
    lines: list[tuple[Cell, ...]] = []
    for spec, value in values.items():
        # One value has nothing to be longer than.
        drawn = Bar(value / longest if longest else 0.0) if len(values) > 1 else None
        cells: list[Cell] = [Arm(spec), Number(value, unit_of(like.metric)), drawn]
        lines.append((*cells, *_curves(mean_logs[spec], names, mean_logs)))
    name = label(like.probe, like.probe_params, like.metric)
    columns = (
        Column("spec", "text"),
        Column(name, "number", unit_of(like.metric), like.higher_is_better),
        Column("", "picture"),
        *(column for one in names for column in (Column(one, "picture"), Column("last", "number"))),
    )
    return Table(f"{name} and the way there", columns, (Section(tuple(lines)),), tuple(_onsets(mean_logs)))


def log_table(log: Log, title: str) -> Table:
    """The log of a run: a line a column, with its first and its last value and the way between them."""
    begins = onset(log)
    lines: list[tuple[Cell, ...]] = []
    for name, values in log.items():
        finite = [value for value in values if math.isfinite(value)]
        if name not in _CLOCKS and finite:
            curve = Curve(tuple(values), min(finite), max(finite), _place(begins, name))
            lines.append((name, Number(finite[0]), Number(finite[-1]), curve))
    columns = (Column("term", "text"), Column("first", "number"), Column("last", "number"), Column("", "picture"))
    return Table(title, columns, (Section(tuple(lines)),), tuple(_onsets({"": log})))


def _drawn(name: str) -> bool:
    return name == "loss" or tracked(name)


def _mean_log(logs: Sequence[Log]) -> dict[str, list[float]]:
    """The mean of the logs of several runs, epoch by epoch, over those that have a value there."""
    means: dict[str, list[float]] = {}
    for name in dict.fromkeys(name for log in logs for name in log):
        known = [log[name] for log in logs if name in log]
        epochs = max(map(len, known))
        found = [[values[e] for values in known if e < len(values) and math.isfinite(values[e])] for e in range(epochs)]
        means[name] = [fmean(values) if values else math.nan for values in found]
    return means


def _curves(log: Log, names: Sequence[str], logs: Mapping[str, Log]) -> list[Cell]:
    cells: list[Cell] = []
    begins = onset(log)
    for name in names:
        finite = [value for value in log.get(name, ()) if math.isfinite(value)]
        if not finite:
            cells += [None, None]
            continue
        everywhere = [value for one in logs.values() for value in one.get(name, ()) if math.isfinite(value)]
        curve = Curve(tuple(log[name]), min(everywhere), max(everywhere), _place(begins, name))
        cells += [curve, Number(finite[-1], unit_of("accuracy" if name.partition("[")[0] in PROBES else name))]
    return cells


def _place(begins: tuple[str, int] | None, name: str) -> int | None:
    """Where a curve has its mark: that of the loss, and of the term that joins it."""
    return begins[1] if begins is not None and name in ("loss", begins[0]) else None


def _onsets(logs: Mapping[str, Log]) -> list[str]:
    """A note for each term that joins a loss late, which then rises, with the specs where it does."""
    found = grouped(((begins, spec) for spec, log in logs.items() if (begins := onset(log))), lambda pair: pair[0])
    notes = []
    for (name, place), specs in found.items():
        where = ", ".join(spec for _, spec in specs if spec)
        notes.append(f"from epoch {place + 1} on the loss includes {name}" + (f" ({where})" if where else ""))
    return notes
