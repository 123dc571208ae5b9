"""Tables of what exists: methods, data sets, runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from dsabench.report.table import Arm, Column, Section, Table
from dsabench.report.wording import counted

# What a table of runs shows of each, by column of the tidy table. Where all runs agree it is told once, below, so that
# the columns that tell them apart find room on a narrow terminal.
_RUNS = {
    "run_id": Column("run", "name"),
    "spec": Column("spec", "text"),
    "seed": Column("seed", "count"),
    "epochs": Column("epochs", "count"),
    "batch_size": Column("batch", "count"),
    "status": Column("status", "text"),
    "dataset": Column("dataset", "text"),
    "train_images": Column("images", "count"),
    "backbone": Column("backbone", "text"),
    "started_utc": Column("when (UTC)", "text"),
}

_ALWAYS = ("run_id", "spec", "seed", "started_utc")

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
    same = [key for key in _RUNS if key not in _ALWAYS and len({run[key] for run in runs}) == 1]
    shown = {key: column for key, column in _RUNS.items() if key not in same}
    lines = tuple(tuple(_cell(key, run[key]) for key in shown) for run in runs)
    told = ", ".join(f"{_RUNS[key].label} {_amount(runs[0][key])}" for key in same if runs[0][key] is not None)
    notes = (f"all: {told}" if len(runs) > 1 else told,) if told else ()
    selected = f"{len(runs)} of {counted(of, 'run')}" if len(runs) < of else counted(of, "run")
    return Table(f"{selected} in {store}", tuple(shown.values()), (Section(lines),), notes)


def _amount(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value)


def _cell(key: str, value: object) -> Arm | str | int | None:
    if key == "spec":
        return Arm(str(value))
    if key == "started_utc":
        # To the minute, which is what a person remembers; --json has all of it.
        return str(value or "")[5:16].replace("T", " ")
    return value if isinstance(value, int) else None if value is None else str(value)
