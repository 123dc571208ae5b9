"""Tables of what exists: methods, data sets, runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from dsabench.report.table import Column, Section, Table
from dsabench.report.wording import counted

# What a table of runs shows of each, by column of the tidy table.
_RUNS = {
    "run_id": Column("run", "name"),
    "spec": Column("spec", "text"),
    "dataset": Column("dataset", "text"),
    "train_images": Column("images", "count"),
    "backbone": Column("backbone", "text"),
    "epochs": Column("epochs", "count"),
    "batch_size": Column("batch", "count"),
    "seed": Column("seed", "count"),
    "status": Column("status", "text"),
    "started_utc": Column("when (UTC)", "text"),
}

_ARROWS = {"higher": "↑", "lower": "↓", "neither": ""}


def listing_table(kind: str, entries: Sequence[Mapping[str, str]]) -> Table:
    """What exists of a kind (`methods`, `runs`): one line an entry, one column a key, the first its name."""
    if not entries:
        return Table("", (), (), (f"no {kind} yet",))
    keys = list(dict.fromkeys(key for entry in entries for key in entry))
    columns = tuple(Column(key, "text" if place else "name") for place, key in enumerate(keys))
    return Table("", columns, (Section(tuple(tuple(entry.get(key) for key in keys) for entry in entries)),))


def evaluator_table(entries: Sequence[Mapping[str, str]]) -> Table:
    """Probes or metrics, two lines each: what it is, then its formula, its cost and its source."""
    lines = []
    for entry in entries:
        facts = "; ".join(filter(None, (entry["formula"], entry["cost"], entry["source"])))
        lines += [(entry["name"], _ARROWS[entry["direction"]], entry["summary"]), (None, None, facts)]
    columns = (Column("name", "name"), Column("", "text"), Column("what; formula; cost; source", "text"))
    notes = (
        "↑ higher, ↓ lower is better; N samples, K at most 10,000 of them, M test samples, D dimensions, C classes",
        "x unit rows, m_c and V_c mean and variance of class c, n_c its size; in full: dsabench show NAME",
    )
    return Table("", columns, (Section(tuple(lines)),), notes)


def run_table(store: str, runs: Sequence[Mapping[str, object]], *, of: int) -> Table:
    """The runs of a store, one line each, of the `of` runs that it holds."""
    if not runs:
        return Table(
            "", (), (), (f"none of the {counted(of, 'run')} in {store} is meant" if of else f"no runs in {store} yet",)
        )
    lines = tuple(tuple(_cell(key, run[key]) for key in _RUNS) for run in runs)
    selected = f"{len(runs)} of {counted(of, 'run')}" if len(runs) < of else counted(of, "run")
    return Table(f"{selected} in {store}", tuple(_RUNS.values()), (Section(lines),))


def _cell(key: str, value: object) -> str | int | None:
    if key == "started_utc":
        # To the minute, which is what a person remembers; --json has all of it.
        return str(value or "")[5:16].replace("T", " ")
    return value if isinstance(value, int) else None if value is None else str(value)
