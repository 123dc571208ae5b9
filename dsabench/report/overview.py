"""Tables of runs, and of the names that exist."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from operator import attrgetter

from rich.console import Console
from rich.text import Text

from dsabench.report.layout import Marks, grouped, new_table, print_titled
from dsabench.report.wording import broken, label, parameters, spread
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
# As long as barlow_twins+dsa: what is left of 80 columns beside all the headline metrics.
_SPEC_WIDTH = 16
_measured = attrgetter("probe", "probe_params", "metric")


def print_overview(console: Console, rows: Sequence[Row], *, layer: str = "backbone") -> None:
    """Print a table for each data set and split, one line a spec: mean and spread over seeds of headline metrics.

    A headline metric with several parameters stands for the first of them. One spec has several lines where its runs
    differ in backbone or epochs.
    """
    tables = dict.fromkeys((row.dataset, row.split) for row in rows if row.status != "failed")
    seen = {dataset for dataset, _ in tables}
    tables |= dict.fromkeys((row.dataset, "") for row in rows if row.dataset not in seen)
    for dataset, split in tables:
        chosen = [r for r in rows if r.dataset == dataset and (r.split == split or r.status == "failed")]
        title = f"{dataset}, {split} split, {layer} features" if split else f"{dataset}, no run finished"
        _print_runs(console, title, chosen, layer)


def _print_runs(console: Console, title: str, rows: Sequence[Row], layer: str) -> None:
    marks = Marks.of(console)
    scored = [row for row in rows if row.status != "failed" and row.layer == layer and row.value is not None]
    firsts = {name: next(filter(is_it, scored), None) for name, is_it in _HEADLINES.items()}
    columns = {name: row for name, row in firsts.items() if row is not None}
    lines = grouped(rows, attrgetter("spec", "backbone", "epochs"))

    table = new_table()
    table.add_column("spec", overflow="fold")
    table.add_column("n", justify="right")
    for name, row in columns.items():
        unit = "% " if row.metric == "accuracy" else ""
        table.add_column(f"{name}\n{unit}{marks.direction(row.higher_is_better)}", justify="right", no_wrap=True)
    table.add_column("s/run", justify="right", no_wrap=True)
    for identity, line in lines.items():
        runs = {row.run_id: row for row in line if row.status != "failed"}
        seconds = [row.wall_s for row in runs.values() if row.wall_s is not None]
        table.add_row(
            _line_name(line, [key for key in lines if key[0] == identity[0]], marks),
            str(len({row.seed for row in runs.values()})),
            *(_mean_cell(line, layer, first, marks) for first in columns.values()),
            f"{sum(seconds) / len(seconds):.0f}" if seconds else "",
        )
    print_titled(console, title, table, _notes(rows, columns.values(), marks))


def _mean_cell(line: Sequence[Row], layer: str, like: Row, marks: Marks) -> str:
    values = [r.value for r in line if r.layer == layer and _measured(r) == _measured(like) and r.value is not None]
    return spread(values, percent=like.metric == "accuracy", plus_minus=marks.plus_minus) if values else ""


def _line_name(line: Sequence[Row], same_spec: Sequence[tuple[str, str, int]], marks: Marks) -> Text:
    """The spec, and under it whatever a reader must know before comparing its numbers with another line's."""
    mark = marks.labels if any(row.labels_used != "none" for row in line) else ""
    name = Text(broken(line[0].spec + mark, _SPEC_WIDTH))
    runs = {(row.run_id, row.seed) for row in line if row.status != "failed"}
    n_failed = len({row.run_id for row in line if row.status == "failed"})
    if len({backbone for _, backbone, _ in same_spec}) > 1:
        name.append(f"\n  {line[0].backbone}", style="dim")
    if len({epochs for *_, epochs in same_spec}) > 1:
        name.append(f"\n  {line[0].epochs} epochs", style="dim")
    if len(runs) > len({seed for _, seed in runs}):
        name.append(f"\n  {len(runs)} runs", style="yellow")
    if n_failed:
        name.append(f"\n  {n_failed} failed", style="red")
    return name


def _notes(rows: Sequence[Row], columns: Iterable[Row], marks: Marks) -> list[str]:
    details = [name for name in (label(*_measured(row)) for row in columns) if "(" in name]
    legend = f"{marks.up} higher, {marks.down} lower is better"
    notes = [f"n: seeds; mean{marks.plus_minus}standard deviation over them; {legend}"]
    notes += [", ".join(details)] if details else []
    if any(row.labels_used != "none" for row in rows):
        notes.append(f"{marks.labels} labels were used, in training or in the prior: not self-supervised")
    return notes


def print_values(console: Console, rows: Sequence[Row]) -> None:
    """Print every value of every run: a table a run, one line a metric, with the layer it was measured on."""
    marks = Marks.of(console)
    for run in grouped(rows, attrgetter("run_id")).values():
        first = run[0]
        table = new_table()
        table.add_column("metric", overflow="fold")
        table.add_column("layer")
        table.add_column("value", justify="right", no_wrap=True)
        for row in run:
            name = f"{label(*_measured(row))} {marks.direction(row.higher_is_better)}".rstrip()
            table.add_row(Text(name), Text(row.layer), Text("" if row.value is None else f"{row.value:.4g}"))
        title = f"{first.spec} s{first.seed}, run {first.run_id}: {first.dataset}, {first.split} split"
        notes = [f"{first.n} images; {marks.up} higher, {marks.down} lower is better"]
        print_titled(console, title, table, notes)


def print_listing(console: Console, kind: str, entries: Sequence[Mapping[str, str]]) -> None:
    """Print what exists of a kind (`methods`, `runs`): one line an entry, one column a key, the first its name."""
    if not entries:
        console.print(Text(f"no {kind} yet"))
        return
    table = new_table()
    for place, key in enumerate(dict.fromkeys(key for entry in entries for key in entry)):
        table.add_column(Text(key), style="bold" if place == 0 else "", overflow="fold")
    for entry in entries:
        table.add_row(*(Text(entry.get(str(column.header), "")) for column in table.columns))
    console.print(table)
