"""Do the good-neighbour scores find the images that were replaced? The AUROC of 1 - s, from the logs of a run store.

    python -m benchmarks.outliers RUNS

One line for each spec and contamination: the mean over the batches of the last epoch, over runs with its deviation.
0.5 is chance, 1 finds all of them. Labels and what was replaced are read for this alone; no training sees them.
"""

from __future__ import annotations

import sys
from pathlib import Path
from statistics import fmean, stdev

from dsabench.cli.output import console
from dsabench.report.table import Arm, Column, Mean, Section, Table
from dsabench.report.terminal import draw
from dsabench.training.store import Store

COLUMNS = (
    Column("spec", "name"),
    Column("trained on", "text"),
    Column("n", "count"),
    Column("AUROC", "mean", "", True),
)


def outlier_table(store: Store) -> Table:
    """The AUROC of every spec and contamination of the finished runs that logged one."""
    found: dict[tuple[str, str], list[float]] = {}
    for run in store.runs():
        logged = run.last_epoch().get("outlier_auroc")
        if run.state["status"] == "finished" and logged:
            found.setdefault((str(run.config.spec), run.config.data.trained_on), []).append(float(logged))
    rows = tuple(
        (Arm(spec), data, len(values), Mean(fmean(values), stdev(values) if len(values) > 1 else None, len(values)))
        for (spec, data), values in sorted(found.items())
    )
    return Table("outliers among the lowest scores", COLUMNS, (Section(rows),))


if __name__ == "__main__":
    draw(console(), outlier_table(Store(Path(sys.argv[1] if len(sys.argv) > 1 else "runs"))))
