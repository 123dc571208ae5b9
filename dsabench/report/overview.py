"""Tables of runs: a line a spec, mean and spread over seeds of the headline metrics."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from operator import attrgetter
from statistics import median

from dsabench.report.table import Arm, Cell, Column, Mean, Number, Remark, Section, Table, grouped
from dsabench.report.wording import BETTER, LABELS, label, parameters, unit_of
from dsabench.tables.rows import Row


def _accuracy_of(probe: str) -> Callable[[Row], bool]:
    return lambda row: row.metric == "accuracy" and row.probe == probe


def _is_one_shot(row: Row) -> bool:
    options = parameters(row.probe_params)
    return row.metric == "accuracy" and options.get("shots") == 1 and options.get("classifier") == "centroid"


_HEADLINES: Mapping[str, Callable[[Row], bool]] = {
    "CDNV": lambda row: row.metric == "cdnv",
    "kNN": _accuracy_of("knn"),
    "1-shot": _is_one_shot,
    "linear": _accuracy_of("linear"),
    "silhouette": lambda row: row.metric == "silhouette",
    "RankMe": lambda row: row.metric == "rankme",
}
# How options were chosen, where no search did; the text of any other row describes one.
_UNSEARCHED = ("defaults", "by hand")
# A model from elsewhere says nothing of it: its `labels_used` is unknown.
_LABELLED = ("prior", "training")
_measured = attrgetter("probe", "probe_params", "metric")


def overview_tables(rows: Sequence[Row], *, layer: str = "backbone") -> list[Table]:
    """A table for each data set and split, one line a spec: mean and spread over seeds of headline metrics.

    A headline metric with several parameters stands for the first of them. One spec has several lines where its runs
    differ in backbone or epochs.
    """
    places = dict.fromkeys((row.dataset, row.split) for row in rows if row.status != "failed")
    seen = {dataset for dataset, _ in places}
    places |= dict.fromkeys((row.dataset, "") for row in rows if row.dataset not in seen)
    tables = []
    for dataset, split in places:
        chosen = [r for r in rows if r.dataset == dataset and (r.split == split or r.status == "failed")]
        title = f"{dataset}, {split} split, {layer} features" if split else f"{dataset}, no run finished"
        tables.append(_table(title, chosen, layer))
    return tables


def _table(title: str, rows: Sequence[Row], layer: str) -> Table:
    scored = [row for row in rows if row.status != "failed" and row.layer == layer and row.value is not None]
    firsts = {name: next(filter(is_it, scored), None) for name, is_it in _HEADLINES.items()}
    headlines = {name: row for name, row in firsts.items() if row is not None}
    lines = grouped(rows, attrgetter("spec", "backbone", "epochs"))
    columns = (
        Column("spec", "text"),
        Column("n", "count"),
        *(Column(name, "mean", unit_of(row.metric), row.higher_is_better) for name, row in headlines.items()),
        Column("s/run", "number"),
    )
    # What was chosen how is told where it differs: rows of an older schema do not know it.
    unequal = len({row.tuning for row in rows}) > 1
    cells = []
    for identity, line in lines.items():
        arm = _arm(line, [key for key in lines if key[0] == identity[0]], unequal)
        means = (_mean(line, layer, like) for like in headlines.values())
        cells.append((arm, len(_finished(line)), *means, _seconds(line)))
    return Table(title, columns, (Section(tuple(cells)),), tuple(_notes(rows, headlines.values())))


def _finished(line: Sequence[Row]) -> dict[int, set[str]]:
    """The finished runs of each seed."""
    runs: dict[int, set[str]] = {}
    for row in line:
        if row.status != "failed":
            runs.setdefault(row.seed, set()).add(row.run_id)
    return runs


def _mean(line: Sequence[Row], layer: str, like: Row) -> Cell:
    values = [r.value for r in line if r.layer == layer and _measured(r) == _measured(like) and r.value is not None]
    return mean_of(values, unit_of(like.metric)) if values else None


def mean_of(values: Sequence[float], unit: str) -> Mean:
    """The mean of one value or more, with their sample standard deviation."""
    mean = sum(values) / len(values)
    deviation = None
    if len(values) > 1:
        deviation = math.sqrt(sum((value - mean) ** 2 for value in values) / (len(values) - 1))
    return Mean(mean, deviation, len(values), unit)


def _seconds(line: Sequence[Row]) -> Cell:
    times = {row.run_id: row.wall_s for row in line if row.status != "failed"}
    seconds = [wall_s for wall_s in times.values() if wall_s is not None]
    return Number(median(seconds), "s") if seconds else None


def _arm(line: Sequence[Row], same_spec: Sequence[tuple[str, str, int]], tuning: bool) -> Arm:
    """The spec, and whatever a reader must know before comparing its numbers with another line's."""
    finished = _finished(line)
    n_runs = sum(map(len, finished.values()))
    n_failed = len({row.run_id for row in line if row.status == "failed"})
    remarks = []
    if len({backbone for _, backbone, _ in same_spec}) > 1:
        remarks.append(Remark(line[0].backbone, "aside"))
    if len({epochs for *_, epochs in same_spec}) > 1:
        remarks.append(Remark(f"{line[0].epochs} epochs", "aside"))
    if tuning:
        words = dict.fromkeys(_tuned(row.tuning) for row in line if row.tuning)
        remarks += [Remark(word, "aside") for word in words]
    if n_runs > len(finished):
        remarks.append(Remark(f"{n_runs} runs", "warning"))
    if n_failed:
        remarks.append(Remark(f"{n_failed} of {n_runs + n_failed} failed", "failure"))
    return Arm(line[0].spec, any(row.labels_used in _LABELLED for row in line), tuple(remarks))


def _tuned(tuning: str) -> str:
    return tuning if tuning in _UNSEARCHED else "tuned"


def _notes(rows: Sequence[Row], headlines: Iterable[Row]) -> list[str]:
    details = [name for name in (label(*_measured(row)) for row in headlines) if "(" in name]
    notes = [f"n: seeds; mean±standard deviation over them; {BETTER}"]
    notes += [", ".join(details)] if details else []
    searches = grouped((row for row in rows if row.tuning and row.tuning not in _UNSEARCHED), attrgetter("tuning"))
    for search, found in searches.items():
        specs = ", ".join(dict.fromkeys(row.spec for row in found))
        notes.append(f"tuned: {search}" + (f" ({specs})" if len(searches) > 1 else ""))
    if any(row.labels_used in _LABELLED for row in rows):
        notes.append(f"{LABELS} labels were used, in training or in the prior: not self-supervised")
    unknown = list(dict.fromkeys(row.spec for row in rows if row.labels_used == "unknown"))
    if unknown:
        notes.append(f"whether labels trained {', '.join(unknown)} is not known here")
    return notes
