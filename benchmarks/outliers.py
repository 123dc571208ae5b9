"""Do the good-neighbour scores find the images that were replaced? The AUROC of 1 - s, from the logs of a run store.

    python -m benchmarks.outliers RUNS [FILE.csv]

One line for each spec and contamination: the mean over the batches of the last epoch, over runs with its deviation.
0.5 is chance, 1 finds all of them. Labels and what was replaced are read for this alone; no training sees them.
FILE.csv gets the value of each run.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from dsabench.cli.output import console
from dsabench.files import write_atomic
from dsabench.report.overview import mean_of
from dsabench.report.table import Arm, Column, Section, Table
from dsabench.report.terminal import draw
from dsabench.tables.rows import csv_text
from dsabench.training.store import Store

COLUMNS = (
    Column("spec", "name"),
    Column("trained on", "text"),
    Column("n", "count"),
    Column("AUROC", "mean", "", True),
)


class Found(NamedTuple):
    """The AUROC of a run in its last epoch."""

    run_id: str
    spec: str
    seed: int
    trained_on: str
    auroc: float


def found_in(store: Store) -> list[Found]:
    """The AUROC of every finished run that logged one."""
    found = []
    for run in store.runs():
        logged = run.last_epoch().get("outlier_auroc")
        if run.state["status"] == "finished" and logged:
            one = run.config
            found.append(Found(one.run_id, str(one.spec), one.seed, one.data.trained_on, float(logged)))
    return sorted(found, key=lambda one: (one.trained_on, one.spec, one.seed))


def outlier_table(found: Sequence[Found]) -> Table:
    """A line for every spec and contamination."""
    grouped: dict[tuple[str, str], list[float]] = {}
    for one in found:
        grouped.setdefault((one.spec, one.trained_on), []).append(one.auroc)
    rows = tuple(
        (Arm(spec), data, len(values), mean_of(values, "")) for (spec, data), values in sorted(grouped.items())
    )
    return Table("outliers among the lowest scores", COLUMNS, (Section(rows),))


if __name__ == "__main__":
    of_runs = found_in(Store(Path(sys.argv[1] if len(sys.argv) > 1 else "runs")))
    draw(console(), outlier_table(of_runs))
    if len(sys.argv) > 2:
        write_atomic(Path(sys.argv[2]), csv_text(Found._fields, of_runs))
